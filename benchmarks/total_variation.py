"""Deconvolution under total variation, by alternating directions (Wang, Yang, Yin and Zhang 2008).

    min_x 1/2 ||A x - y||^2 + weight noise sum |grad x|

The gradient is split off: one step is a division in Fourier space, the other shrinks it. The grid is periodic, with the
observation continued so that its ends meet, as for the linear estimate.
"""

import torch
from torch import Tensor

from physics.blur import Blur
from physics.wiener import Wiener

ITERATIONS = 80


def total_variation(y: Tensor, blur: Blur, noise_std: float, weight: float, iterations: int = ITERATIONS) -> Tensor:
    """y (B, C, h, w) -> x of the same size; factor 1 only."""
    linear = Wiener.of(blur, y.new_tensor([noise_std]), *y.shape[-2:])
    wide = linear.continued(y)
    height, width = wide.shape[-2:]
    strength = weight * noise_std
    penalty = 10.0 * strength / 0.1  # slopes of .1 are moved by a tenth of themselves a step
    transfer = blur.transfer(height, width)
    slopes = _power(height, width).to(y)
    below = transfer.abs().square() + penalty * slopes
    seen = transfer.conj() * torch.fft.rfft2(wide)
    x = wide
    split = [torch.zeros_like(x) for _ in range(2)]
    dual = [torch.zeros_like(x) for _ in range(2)]
    for _ in range(iterations):
        pulled = _divergence([d - u for d, u in zip(split, dual, strict=True)])
        x = torch.fft.irfft2((seen + penalty * torch.fft.rfft2(pulled)) / below, s=(height, width))
        moved = [s + u for s, u in zip(_slopes(x), dual, strict=True)]
        size = (moved[0].square() + moved[1].square()).sqrt().clamp_min(1e-12)
        shrink = (size - strength / penalty).clamp_min(0.0) / size
        split = [shrink * m for m in moved]
        dual = [m - d for m, d in zip(moved, split, strict=True)]
    return x[..., : y.shape[-2], : y.shape[-1]].clamp(0.0, 1.0)


def _slopes(x: Tensor) -> list[Tensor]:
    return [x.roll(-1, axis) - x for axis in (-2, -1)]


def _divergence(v: list[Tensor]) -> Tensor:
    """The transpose of ``_slopes``."""
    return sum((part.roll(1, axis) - part for part, axis in zip(v, (-2, -1), strict=True)), torch.zeros_like(v[0]))


def _power(height: int, width: int) -> Tensor:
    down = 2.0 - 2.0 * torch.cos(2.0 * torch.pi * torch.fft.fftfreq(height))
    across = 2.0 - 2.0 * torch.cos(2.0 * torch.pi * torch.fft.rfftfreq(width))
    return down[:, None] + across
