"""The methods without a network, by name."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from physics.blur import Blur
from service.deblurring.spec import DeblurSpec
from solvers.image_plans import IMAGE_METHODS, run_iterative
from solvers.images import RL_LONGEST, richardson_lucy_until, wiener
from solvers.plans import rules_for


def solve_classically(
    spec: DeblurSpec, y: Tensor, blur: Blur, noise_std: float, progress: Callable[[int, int], None] | None = None
) -> tuple[Tensor, int]:
    """y (1, 1, h, w) -> x (1, 1, H, W), and how many iterations it took.

    progress: called between iterations.
    """
    if spec.method == "wiener":
        return wiener(y, blur, noise_std), 1
    if spec.method in IMAGE_METHODS:
        rules = rules_for("product", y.numel())
        rules = rules if spec.max_iterations is None else replace(rules, max_iterations=spec.max_iterations)
        found = run_iterative(y, blur, noise_std, spec.method, rules, each=progress)
        return found.x, found.iterations[0]
    x, iterations = richardson_lucy_until(y, blur, noise_std, spec.max_iterations or RL_LONGEST, progress)
    return x, int(iterations[0])
