"""Two classics of deblurring, for images (B, C, h, w): Wiener and Richardson-Lucy. Both take the sensor as linear.

Wiener (1949), with a prior spectrum falling as 1 / |gradient|^2, as photographs' do:

    x = F^-1 [ conj(K) Y / (|K|^2 + balance noise^2 |G|^2) ],   |G|^2 = 4 - 2 cos u - 2 cos v

Richardson (1972), Lucy (1974): x <- x A^T(y / A x) / A^T 1, which stops where the residual is no more than noise.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from physics.blur import Blur

BALANCE = 150.0  # one over the mean squared gradient of photographs with values in [0, 1]
RL_LONGEST = 200
_FLOOR = 1e-4


def wiener(y: Tensor, blur: Blur, noise_std: float, balance: float = BALANCE) -> Tensor:
    """The linear estimate with the least mean square error under that prior: (B, C, h, w) -> (B, C, h f, w f).

    The image is mirrored outwards and blended into a periodic one first, so that edges ring little. Where the camera
    also averages f x f pixels, that mean is taken for a part of the kernel, and y is interpolated.
    """
    if blur.factor > 1:
        y = interpolate(y, scale_factor=float(blur.factor), mode="bicubic", align_corners=False)
    size = y.shape[-2:]
    margins = [0 if blur.border == "periodic" else min(4 * r + 8, n - 1) for r, n in zip(blur.reach, size, strict=True)]
    wide = _periodic(_periodic(y, margins[0], -2), margins[1], -1)
    height, width = wide.shape[-2:]
    K = _averaged(blur.transfer(height, width), width, blur.factor)
    K = K[:, None] if K.ndim == 3 else K
    damping = balance * noise_std**2 * _gradient_power(K, width) + 1e-8
    x: Tensor = torch.fft.irfft2(K.conj() * torch.fft.rfft2(wide) / (K.abs().square() + damping), s=(height, width))
    return x.narrow(-2, margins[0], size[0]).narrow(-1, margins[1], size[1]).clamp(0.0, 1.0)


def richardson_lucy(y: Tensor, blur: Blur, noise_std: float, iterations: int | None = None) -> Tensor:
    """The multiplicative update from y itself; each image until its residual is at the noise level.

    Args:
        iterations: do exactly so many instead.
    """
    tolerance, longest = (noise_std, RL_LONGEST) if iterations is None else (0.0, iterations)
    return richardson_lucy_until(y, blur, tolerance, longest)[0]


def richardson_lucy_until(y: Tensor, blur: Blur, tolerance: float, longest: int = RL_LONGEST) -> tuple[Tensor, Tensor]:
    """The same until the rms residual is no more than ``tolerance``; x and the iterations of each image (B,)."""
    y = y.clamp_min(0.0)
    x = start_image(y, blur).clamp_min(_FLOOR)
    weight = blur.adjoint(torch.ones_like(y)).clamp_min(_FLOOR)
    iterations = torch.zeros(len(y), dtype=torch.long, device=y.device)
    for _ in range(longest):
        predicted = blur.linear(x)
        open_ = (predicted - y).square().mean((1, 2, 3)).sqrt() > tolerance
        if not open_.any():
            break
        better = x * blur.adjoint(y / predicted.clamp_min(_FLOOR)) / weight
        x, iterations = torch.where(open_[:, None, None, None], better, x), iterations + open_
    return x.clamp(0.0, 1.0), iterations


def start_image(y: Tensor, blur: Blur) -> Tensor:
    """The observation as a first guess: each of its pixels f x f times."""
    return interpolate(y, scale_factor=float(blur.factor), mode="nearest") if blur.factor > 1 else y


def _periodic(y: Tensor, margin: int, axis: int) -> Tensor:
    """An axis with ``margin`` mirrored pixels at both ends, blended so that the far ends meet."""
    if margin == 0:
        return y
    size = y.shape[axis]
    before, after = y.narrow(axis, 1, margin).flip(axis), y.narrow(axis, size - 1 - margin, margin).flip(axis)
    share = 0.5 * torch.linspace(0.0, 1.0, margin, dtype=y.dtype, device=y.device)
    share = share.reshape([margin if i == axis % y.ndim else 1 for i in range(y.ndim)])
    # The outermost pixel of either end becomes the mean of both; those next to the image stay as they are.
    outer = after + share * (before.flip(axis) - after)
    inner = before + share.flip(axis) * (after.flip(axis) - before)
    return torch.cat([inner, y, outer], axis)


def _averaged(K: Tensor, width: int, factor: int) -> Tensor:
    """The transfer function with a centred mean over factor x factor pixels behind it."""
    if factor == 1:
        return K
    rows, columns = _frequencies(K.shape[-2], width, K)
    return K * _mean(rows, factor) * _mean(columns, factor)


def _mean(frequency: Tensor, factor: int) -> Tensor:
    """Transfer function of a centred mean over that many pixels: sin(f u / 2) / (f sin(u / 2)), 1 at u = 0."""
    half = frequency / 2
    safe = torch.where(half == 0, 1.0, half)
    return torch.where(half == 0, 1.0, torch.sin(factor * safe) / (factor * torch.sin(safe)))


def _gradient_power(K: Tensor, width: int) -> Tensor:
    rows, columns = _frequencies(K.shape[-2], width, K)
    return 4.0 - 2.0 * torch.cos(rows) - 2.0 * torch.cos(columns)


def _frequencies(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Angular frequencies (H, 1) and (1, W // 2 + 1) of a real transform's values, in like's precision and place."""
    kind = {"dtype": like.real.dtype, "device": like.device}
    rows = 2 * torch.pi * torch.fft.fftfreq(height, **kind)
    columns = 2 * torch.pi * torch.fft.rfftfreq(width, **kind)
    return rows[:, None], columns[None, :]
