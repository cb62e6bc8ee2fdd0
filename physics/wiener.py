"""The linear estimate of an image from its blurred observation, in closed form on a periodic grid, for every factor.

    x = P A^T (A P A^T + noise^2)^-1 y,     P(w) = tau / (|D(w)|^2 + e)

A is the linear camera (blur, then means over factor x factor pixels), P the power spectrum of an image whose
differences between neighbours have variance tau. A P A^T is diagonal in the Fourier basis of the *small* grid: its
autocorrelation is the large one's, decimated.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from physics.blur import Blur, periodic_kernel
from physics.correlation import quick_size

SLOPE_VARIANCE = 4e-3  # tau: photographs in [0, 1] differ by about .06 from pixel to pixel
FLATNESS = 2e-3  # e: waves longer than about 140 pixels are no likelier than that
MARGIN = 8  # low-resolution pixels beyond the kernel over which the opposite edges blend


@dataclass(frozen=True)
class Wiener:
    """One camera's linear estimator for observations of one size; made once, applied to many observations.

    Attributes:
        transposed: P conj(H) on the large grid, half spectrum.
        gain: 1 / (A P A^T + noise^2) on the small grid, half spectrum.
    """

    blur: Blur
    size: tuple[int, int]
    margins: tuple[int, int]
    transposed: Tensor
    gain: Tensor

    @classmethod
    def of(cls, blur: Blur, noise_std: Tensor, height: int, width: int) -> "Wiener":
        """For observations (B, C, height, width) with noise of standard deviation noise_std (1,) or (B,)."""
        factor = blur.factor
        rows, columns = (0, 0) if blur.border == "periodic" else (-(-reach // factor) + MARGIN for reach in blur.reach)
        small = quick_size(height + 2 * rows) if rows else height, quick_size(width + 2 * columns) if columns else width
        large = small[0] * factor, small[1] * factor
        prior = SLOPE_VARIANCE / (differences(*large).to(noise_std) + FLATNESS)
        block = noise_std.new_full((factor, factor), 1.0 / factor**2)
        corner = torch.nn.functional.pad(block, (0, large[1] - factor, 0, large[0] - factor))
        kernel = periodic_kernel(blur.kernel.to(noise_std), *large)
        h = torch.fft.rfft2(kernel) * torch.fft.rfft2(corner).conj()
        correlation = torch.fft.irfft2(h.abs().square() * prior, s=large)[..., ::factor, ::factor]
        spectrum = torch.fft.rfft2(correlation).real
        noise = noise_std.clamp_min(1e-4).square().reshape(-1, 1, 1)
        gain = 1.0 / (spectrum + noise)
        transposed = prior * h.conj()
        if factor == 1:  # one grid: one filter
            transposed, gain = transposed * gain, gain.new_ones(1, 1, 1)
        margins = small[0] - height, small[1] - width
        return cls(blur, (height, width), margins, _with_channels(transposed), _with_channels(gain))

    def __call__(self, y: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h factor, w factor)."""
        factor = self.blur.factor
        wide = self.continued(y)
        if factor > 1:
            wide = torch.fft.irfft2(torch.fft.rfft2(wide) * self.gain, s=wide.shape[-2:])
            wide = _spread(wide, factor)
        out: Tensor = torch.fft.irfft2(torch.fft.rfft2(wide) * self.transposed, s=wide.shape[-2:])
        height, width = self.blur.size_of_x(*self.size)
        return out[..., :height, :width]

    def continued(self, y: Tensor) -> Tensor:
        """y on the periodic grid: continued at its lower and right ends so that they meet the others."""
        return continued(y, self.margins, self.blur.border)


def wiener_start(y: Tensor, filtered: Wiener) -> Tensor:
    """The linear estimate about the mean of y (about 0 where 0 lies beyond the border), in [0, 1]."""
    mean = y.mean((-2, -1), keepdim=True) * float(filtered.blur.border != "zero")
    return (mean + filtered(y - mean)).clamp(0.0, 1.0)


def photograph_like(shape: torch.Size, generator: Generator) -> Tensor:
    """Random fields (B, C, H, W) of the prior's spectrum, each of mean square 1: how photographs differ."""
    height, width = shape[-2:]
    prior = 1.0 / (differences(height, width) + FLATNESS)
    white = torch.randn(shape, generator=generator)
    field: Tensor = torch.fft.irfft2(torch.fft.rfft2(white) * prior.sqrt(), s=(height, width))
    return field / field.square().mean((-2, -1), keepdim=True).sqrt()


def differences(height: int, width: int) -> Tensor:
    """|D|^2 = 4 - 2 cos w1 - 2 cos w2, half spectrum (H, W // 2 + 1)."""
    down = 2.0 - 2.0 * torch.cos(2.0 * torch.pi * torch.fft.fftfreq(height))
    across = 2.0 - 2.0 * torch.cos(2.0 * torch.pi * torch.fft.rfftfreq(width))
    return down[:, None] + across


def continued(y: Tensor, margins: tuple[int, int], border: str) -> Tensor:
    """y (..., h, w) with so many more rows and columns at its lower and right ends, which lead back to the others."""
    return _joined(_joined(y, margins[0], -2, border), margins[1], -1, border)


def _joined(y: Tensor, margin: int, axis: int, border: str) -> Tensor:
    """y with ``margin`` more places at the end of an axis, which lead smoothly from its end to its beginning.

    Both edges go on mirrored (by zeros under a zero border), each fading as the other comes.
    """
    if margin == 0:
        return y
    size = y.shape[axis]
    if border == "zero":
        shape = list(y.shape)
        shape[axis] = margin
        return torch.cat([y, y.new_zeros(shape)], axis)
    at = torch.arange(margin, device=y.device)
    last = max(0, size - 1)
    after = y.index_select(axis, (size - 2 - at).abs().clamp_max(last))
    before = y.index_select(axis, (margin - at).clamp_max(last))
    fade = (at + 1.0) / (margin + 1.0)
    fade = fade.to(y) if axis == -1 else fade.to(y)[:, None]
    return torch.cat([y, (1.0 - fade) * after + fade * before], axis)


def _spread(v: Tensor, factor: int) -> Tensor:
    """v on every factor-th pixel of a grid of zeros."""
    batch, channels, height, width = v.shape
    out = v.new_zeros(batch, channels, height, factor, width, factor)
    out[:, :, :, 0, :, 0] = v
    return out.reshape(batch, channels, height * factor, width * factor)


def _with_channels(spectrum: Tensor) -> Tensor:
    """(H, W) or (B, H, W) -> (1, 1, H, W) or (B, 1, H, W)."""
    return spectrum[None, None] if spectrum.ndim == 2 else spectrum[:, None]
