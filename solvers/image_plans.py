"""LM, gradient descent and L-BFGS on images: the one loop, with each image as a row of unknowns in [0, 1].

    Phi(x) = 1/2 mean(((A x - y) / noise)^2),  from y itself, until the residual is at the noise level

No prior but the range: stopping early is what regularises. J^T J is never formed; LM solves by conjugate gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from physics.blur import Blur
from physics.constraints import Box
from solvers.gauss_newton import ConjugateGradient, LevenbergMarquardt
from solvers.gradient import BarzilaiBorwein
from solvers.images import start_image
from solvers.lbfgs import LBFGS
from solvers.method import Method, Objective
from solvers.plans import rules_for
from solvers.solve import Rules, Status, solve

MEMORY = 5  # moves that L-BFGS keeps: each is as large as two images
IMAGE_METHODS: dict[str, Method] = {
    # Damped strongly at first: a step past the noise level fits the noise, and nothing takes it back.
    "lm": LevenbergMarquardt(initial=1.0, linear_solver=ConjugateGradient()),
    "gd": BarzilaiBorwein(),
    "lbfgs": LBFGS(MEMORY),
}


@dataclass(frozen=True)
class ImageSolution:
    """x (B, C, H, W), and per image the iterations, the rms residual and how it ended."""

    x: Tensor
    iterations: list[int]
    residual_rms: list[float]
    status: list[Status]


def run_iterative(
    y: Tensor,
    blur: Blur,
    noise_std: float,
    method: str | Method,
    rules: Rules | None = None,
    progress: Callable[[int, int], None] | None = None,
    each: Callable[[int, int], None] | None = None,
) -> ImageSolution:
    """Solves images (B, C, h, w) one by one, so that memory holds the work of one.

    Args:
        noise_std: the residual's unit: ``rules.tolerance`` counts in it.
        rules: by default the product's: to the noise level, 50 iterations.
        progress: called after every image with (done, all).
        each: called after every iteration on an image, as `solve` calls its ``progress``.
    """
    chosen = IMAGE_METHODS[method] if isinstance(method, str) else method
    found = []
    for i in range(len(y)):
        kernel = blur.kernel if blur.kernel.ndim == 2 else blur.kernel[i]
        camera = Blur(kernel, blur.border, blur.factor, blur.sensor)
        found.append(_solve_one(y[i], camera, noise_std, chosen, rules, each))
        if progress is not None:
            progress(i + 1, len(y))
    x, iterations, rms, status = zip(*found, strict=True)
    return ImageSolution(torch.stack(x), list(iterations), list(rms), list(status))


def _solve_one(
    y: Tensor,
    blur: Blur,
    noise_std: float,
    method: Method,
    rules: Rules | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[Tensor, int, float, Status]:
    start = start_image(y[None], blur)
    shape = start.shape

    def forward(x: Tensor) -> Tensor:
        return blur.forward(x.reshape(-1, *shape[1:])).flatten(1)

    observation = y.reshape(1, -1)
    weight = torch.full_like(observation[0], noise_std)
    objective = Objective(forward, _no_inverse, Box(0.0, 1.0), weight, torch.ones_like(start.flatten()))
    rules = rules or rules_for("product", observation.shape[1])
    found = solve(objective, observation, start.flatten(1), method, rules, progress=progress)
    rms = float(found.residual_rms[0]) * noise_std
    return found.x.reshape(shape)[0], int(found.iterations[0]), rms, Status(int(found.status[0]))


def _no_inverse(_: Tensor) -> Tensor:
    raise TypeError("these methods use no learned inverse")
