"""Deconvolution under total variation, by alternating directions (Wang, Yang, Yin and Zhang 2008). Factor 1 only.

    min_x 1/2 ||A x - y||^2 + weight noise sum |grad x|

The gradient is split off: one step is a division in Fourier space, the other shrinks it. The grid is periodic, with the
observation continued so that its ends meet, as for the linear estimate.
"""

import torch
from torch import Tensor

from physics.blur import Blur
from physics.wiener import Wiener, differences

WEIGHT = 0.1  # near the best for photographs under noise of .01
PENALTY = 100.0  # times the strength: slopes of .01 and less vanish in the first step


def total_variation(
    y: Tensor, linear: Wiener, noise_std: Tensor, weight: float = WEIGHT, iterations: int = 80
) -> Tensor:
    """y (B, C, h, w) -> x of the same size in [0, 1].

    Args:
        linear: the camera's linear estimator for y; noise_std: (1,) or (B,).
    """
    blur = linear.blur
    if blur.factor != 1:
        raise ValueError("total variation is for images seen at full resolution")
    wide = linear.continued(y)
    height, width = wide.shape[-2:]
    strength = weight * noise_std.reshape(-1, 1, 1, 1)
    penalty = PENALTY * strength
    transfer = _with_channel(blur, height, width).to(torch.complex64 if y.dtype == torch.float32 else torch.complex128)
    below = transfer.abs().square() + penalty * differences(height, width).to(y)
    seen = transfer.conj() * torch.fft.rfft2(wide)
    x, threshold = wide, strength / penalty
    split = [torch.zeros_like(x) for _ in range(2)]
    dual = [torch.zeros_like(x) for _ in range(2)]
    for _ in range(iterations):
        pulled = _transposed([d - u for d, u in zip(split, dual, strict=True)])
        x = torch.fft.irfft2((seen + penalty * torch.fft.rfft2(pulled)) / below, s=(height, width))
        moved = [s + u for s, u in zip(_slopes(x), dual, strict=True)]
        size = torch.hypot(*moved).clamp_min(1e-12)
        shrink = (size - threshold).clamp_min(0.0) / size
        split = [shrink * m for m in moved]
        dual = [m - d for m, d in zip(moved, split, strict=True)]
    return x[..., : y.shape[-2], : y.shape[-1]].clamp(0.0, 1.0)


def _with_channel(blur: Blur, height: int, width: int) -> Tensor:
    transfer = blur.transfer(height, width)
    return transfer if transfer.ndim == 2 else transfer[:, None]


def _slopes(x: Tensor) -> list[Tensor]:
    return [x.roll(-1, axis) - x for axis in (-2, -1)]


def _transposed(v: list[Tensor]) -> Tensor:
    """The transpose of ``_slopes``."""
    return sum((part.roll(1, axis) - part for part, axis in zip(v, (-2, -1), strict=True)), torch.zeros_like(v[0]))
