"""The work: one channel of a picture, its kernel, and a method."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from physics.blur import Blur, Border
from physics.noise_estimate import estimate_noise_std
from service.deblurring.spec import DeblurSpec
from service.images import to_unit
from solvers.image_plans import IMAGE_METHODS, run_iterative
from solvers.images import RL_LONGEST, richardson_lucy_until, wiener
from solvers.plans import noise_level, rules_for
from solvers.solve import Status

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Restored:
    """A channel's answer: x float32 (H, W) in [0, 1], the item of the API without x, and what it took."""

    x: np.ndarray
    item: dict[str, Any]
    solve_s: float
    diagnose_s: float


class Deblurring:
    """Deblurs on one device."""

    engine = "torch"

    def __init__(self, device: str) -> None:
        self.device = device

    def restore(
        self, spec: DeblurSpec, kernel: np.ndarray, pixels: np.ndarray, progress: Progress | None = None
    ) -> Restored:
        """One channel (h, w) of any of a Picture's kinds."""
        began = time.perf_counter()
        image = to_unit(pixels)
        noise_std = estimate_noise_std(image) if spec.noise_std is None else spec.noise_std
        y = torch.from_numpy(image)[None, None].to(self.device)
        blur = Blur(torch.from_numpy(kernel).to(self.device), cast(Border, spec.border), spec.factor)
        x, iterations = _solve(spec, y, blur, noise_std)
        solved = time.perf_counter()
        residual_rms = float((blur.forward(x) - y).square().mean().sqrt())
        reached = residual_rms <= noise_level(y.numel()) * noise_std
        item = {
            "status": (Status.CONVERGED if reached else Status.MAX_ITERATIONS).name.lower(),
            "solved_by": spec.method,
            "iterations": iterations,
            "residual_rms": residual_rms,
            "noise_std": noise_std,
            "diagnostics": {"residual_to_noise": residual_rms / noise_std},
            "error": None,
        }
        found = np.asarray(x[0, 0].cpu().numpy(), dtype=np.float32)
        return Restored(found, item, solved - began, time.perf_counter() - solved)


def _solve(spec: DeblurSpec, y: Tensor, blur: Blur, noise_std: float) -> tuple[Tensor, int]:
    """x (1, 1, H, W), and how many iterations it took."""
    if spec.method == "wiener":
        return wiener(y, blur, noise_std), 1
    if spec.method in IMAGE_METHODS:
        rules = rules_for("product", y.numel())
        rules = rules if spec.max_iterations is None else replace(rules, max_iterations=spec.max_iterations)
        found = run_iterative(y, blur, noise_std, spec.method, rules)
        return found.x, found.iterations[0]
    x, iterations = richardson_lucy_until(y, blur, noise_std, spec.max_iterations or RL_LONGEST)
    return x, int(iterations[0])
