"""Two classics of deblurring, for images (B, C, h, w): Wiener and Richardson-Lucy. Both take the sensor as linear.

Richardson (1972), Lucy (1974): x <- x A^T(y / A x) / A^T 1, which stops where the residual is no more than noise.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from physics.blur import Blur
from physics.wiener import SLOPE_VARIANCE, Wiener, wiener_start

BALANCE = 1.0 / SLOPE_VARIANCE
RL_LONGEST = 200
_FLOOR = 1e-4


def wiener(y: Tensor, blur: Blur, noise_std: float, balance: float = BALANCE) -> Tensor:
    """The linear estimate of physics/wiener.py, clipped: (B, C, h, w) -> (B, C, h f, w f).

    Args:
        balance: one over the variance of slopes that it expects; a larger one smooths more.
    """
    level = y.new_tensor([noise_std * (balance * SLOPE_VARIANCE) ** 0.5])
    return wiener_start(y, Wiener.of(blur, level, *y.shape[-2:]))


def richardson_lucy(y: Tensor, blur: Blur, noise_std: float, iterations: int | None = None) -> Tensor:
    """The multiplicative update from y itself; each image until its residual is at the noise level.

    Args:
        iterations: do exactly so many instead.
    """
    tolerance, longest = (noise_std, RL_LONGEST) if iterations is None else (0.0, iterations)
    return richardson_lucy_until(y, blur, tolerance, longest)[0]


def richardson_lucy_until(
    y: Tensor,
    blur: Blur,
    tolerance: float,
    longest: int = RL_LONGEST,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """The same until the rms residual is no more than ``tolerance``; x and the iterations of each image (B,).

    progress: called before every iteration with (iterations done, at most).
    """
    y = y.clamp_min(0.0)
    x = start_image(y, blur).clamp_min(_FLOOR)
    weight = blur.adjoint(torch.ones_like(y)).clamp_min(_FLOOR)
    iterations = torch.zeros(len(y), dtype=torch.long, device=y.device)
    for iteration in range(longest):
        if progress is not None:
            progress(iteration, longest)
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
