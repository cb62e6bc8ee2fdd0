"""The work: one channel of a picture, its kernel, and a method."""

import time
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from models.deblurring import deblur
from physics.blur import Blur, Border
from physics.noise_estimate import estimate_noise_std, noise_level
from service.deblurring.networks import Network, Networks
from service.deblurring.spec import NETWORK, DeblurSpec
from service.images import to_unit
from service.progress import Progress
from trust.images import judge_image, judge_residual


@dataclass(frozen=True)
class Restored:
    """A channel's answer: x float32 (H, W) in [0, 1], the item of the API without x, the engine, and what it took."""

    x: np.ndarray
    item: dict[str, Any]
    engine: str
    solve_s: float
    diagnose_s: float


class Deblurring:
    """Deblurs on one device, with the networks of a checkpoint directory."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.device = networks.device

    def warm(self) -> None:
        """Runs every usable network once, so that the first picture does not pay for it."""
        for name in self.networks.names():
            spec = DeblurSpec(NETWORK, name, self.networks.version(name), None, "reflect", 1, None, 16, 16, 1, 8)
            self.restore(spec, np.ones((1, 1), np.float32), np.full((16, 16), 0.5, np.float32))

    def restore(
        self, spec: DeblurSpec, kernel: np.ndarray, pixels: np.ndarray, progress: Progress | None = None
    ) -> Restored:
        """One channel (h, w) of any of a Picture's kinds."""
        image = to_unit(pixels)
        noise_std = estimate_noise_std(image) if spec.noise_std is None else spec.noise_std
        y = torch.from_numpy(image)[None, None].to(self.device)
        blur = Blur(torch.tensor(kernel).to(self.device), cast(Border, spec.border), spec.factor)
        network = self.networks.load(spec.model, spec.version) if spec.version is not None else None
        began = time.perf_counter()
        x, iterations = _solve(spec, network, y, blur, noise_std, progress)
        solved = time.perf_counter()
        diagnostics = _judge(network, x, y, blur, noise_std)
        residual_rms = diagnostics.pop("residual_rms")
        reached = residual_rms <= noise_level(y.numel()) * noise_std
        item = {
            "status": "converged" if reached else "max_iterations",
            "solved_by": spec.method,
            "iterations": iterations,
            "residual_rms": residual_rms,
            "noise_std": noise_std,
            "diagnostics": diagnostics,
            "error": None,
        }
        found = np.asarray(x[0, 0].cpu().numpy(), dtype=np.float32)
        engine = network.engine if network else "torch"
        return Restored(found, item, engine, solved - began, time.perf_counter() - solved)


def _solve(
    spec: DeblurSpec, network: Network | None, y: Tensor, blur: Blur, noise_std: float, progress: Progress | None
) -> tuple[Tensor, int]:
    """x (1, 1, H, W), and how many iterations it took."""
    if network is not None:
        return deblur(network.model, y, blur, noise_std, progress), network.model.config.steps
    # Late: it brings SciPy along, a fifth of a second that a network does without.
    from service.deblurring.classics import solve_classically

    return solve_classically(spec, y, blur, noise_std, progress)


def _judge(network: Network | None, x: Tensor, y: Tensor, blur: Blur, noise_std: float) -> dict[str, Any]:
    """The network's diagnostics, ranked where its checkpoint is calibrated; of other methods the residual's."""
    if network is None or network.calibration is None:
        return judge_residual(x, y, blur, noise_std)[0]
    return judge_image(network.model, network.calibration, x, y, blur, noise_std)[0]
