"""DeceptronNet: an unrolled corrector that sharpens an image in a few steps, each looking at its own residual.

    x <- x - sigma(gamma_t) dx_t,   dx_t = U(features(x_t, y, camera)),   t = 1..N

Two forms. ``PaperNet`` is arXiv 2511.21076's v0: features [up(y), up(A x_t - y), x_t], start up(y), clipped every step.
``DeceptronNet`` is the one we ship: it starts at a classical estimate x_0 and is shown the residual twice, as its
adjoint and through the linear estimator, beside x_t, x_0, y and the noise level; between the steps the U-Net hands
itself a few channels; one set of weights serves all steps, kernels, noise levels and factors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.unet import TILE, Corrector, HalfUNet, PaperUNet, padded, tiled
from physics.blur import Blur
from physics.total_variation import total_variation
from physics.wiener import Wiener, wiener_start

GAMMA_START = 0.7
VARIATION_STEPS = 25
QUIETEST = 1e-3  # noise levels below count as this


@dataclass(frozen=True)
class NetworkConfig:
    """Which network, and its sizes.

    Attributes:
        form: ``paper`` is v0, ``shipped`` ours; with one step ours is the plain U-Net that the benchmark compares.
        steps: N.
        widths, blocks: of the U-Net, from its highest resolution down.
        carried: channels that the U-Net hands from step to step.
        start: ``linear`` estimate, or the one under total ``variation`` (where the factor is 1).
    """

    form: Literal["paper", "shipped"]
    steps: int = 6
    widths: tuple[int, ...] = (32, 64)
    blocks: tuple[int, ...] = ()
    carried: int = 0
    start: Literal["linear", "variation"] = "linear"


class PaperNet(nn.Module):
    """v0: sees the observation, the raw residual under the camera it is told, and itself."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = PaperUNet(3, config.widths)
        self.gamma = nn.Parameter(torch.full((config.steps,), GAMMA_START))

    def forward(self, y: Tensor, blur: Blur, noise_std: Tensor) -> list[Tensor]:
        """y (B, 1, h, w) -> x after each step (B, 1, H, W); the noise level is not looked at."""
        factor = float(blur.factor)
        raised = interpolate(y, scale_factor=factor, mode="nearest")
        x, steps = raised, []
        for gamma in self.gamma:
            residual = interpolate(blur.forward(x) - y, scale_factor=factor, mode="nearest")
            dx = self.unet(torch.cat([raised, residual, x], 1))
            x = (x - torch.sigmoid(gamma) * dx).clamp(0.0, 1.0)
            steps.append(x)
        return steps


class DeceptronNet(nn.Module):
    """Ours. One channel at a time: a colour image is a batch of three."""

    inputs = 6

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config, self.start = config, config.start
        self.unet = HalfUNet(self.inputs, config.carried, config.widths, config.blocks)
        self.gamma = nn.Parameter(torch.full((config.steps,), GAMMA_START))
        self.bias = nn.Parameter(torch.zeros(config.steps, config.widths[0]))
        self.engine: Corrector | None = None  # what runs the U-Net, where that is not PyTorch

    def forward(self, y: Tensor, blur: Blur, noise_std: Tensor) -> list[Tensor]:
        """y (B, 1, h, w), noise_std (B,) -> x after each step, (B, 1, H, W), not clipped."""
        linear = Wiener.of(blur, noise_std, *y.shape[-2:])
        start = self.beginning(y, linear, noise_std)
        still = self.still(y, start, blur, noise_std)
        x, carried, steps = start, self.nothing_carried(start), []
        for t in range(self.config.steps):
            x, carried = self.step(t, x, carried, still, y, blur, linear)
            steps.append(x)
        return steps

    def beginning(self, y: Tensor, linear: Wiener, noise_std: Tensor) -> Tensor:
        """x_0 (B, 1, H, W)."""
        if self.start == "variation" and linear.blur.factor == 1:
            return total_variation(y, linear, noise_std, iterations=VARIATION_STEPS)
        return wiener_start(y, linear)

    def still(self, y: Tensor, start: Tensor, blur: Blur, noise_std: Tensor) -> Tensor:
        """The features that no step changes: up(y), x_0, log noise level, (B, 3, H, W)."""
        raised = interpolate(y, scale_factor=float(blur.factor), mode="nearest") if blur.factor > 1 else y
        level = 0.5 * torch.log10(noise_std.clamp_min(QUIETEST) / 0.01)
        return torch.cat([raised, start, level.reshape(-1, 1, 1, 1).expand_as(start)], 1)

    def nothing_carried(self, x: Tensor) -> Tensor:
        """What the first step is handed: zeros at half the padded size."""
        height, width = padded(x, self.unet.stride).shape[-2:]
        fold = self.unet.fold
        return x.new_zeros(x.shape[0], self.config.carried, height // fold, width // fold)

    def step(
        self,
        t: int,
        x: Tensor,
        carried: Tensor,
        still: Tensor,
        y: Tensor,
        blur: Blur,
        linear: Callable[[Tensor], Tensor],
        tile: int = TILE,
    ) -> tuple[Tensor, Tensor]:
        """x_t and what is carried -> x_{t+1} and what is carried on."""
        residual = y - blur.forward(x)
        moving = [x, 4.0 * blur.adjoint(residual) * blur.factor**2, 4.0 * linear(residual)]
        features = padded(torch.cat([still, *moving], 1), self.unet.stride)
        dx, carried = tiled(self.engine or self.unet, features, carried, self.bias[t], tile)
        return x - torch.sigmoid(self.gamma[t]) * dx[..., : x.shape[-2], : x.shape[-1]], carried


ImageNetwork = PaperNet | DeceptronNet


def network_of(config: NetworkConfig) -> ImageNetwork:
    """A network as initialised, in the memory layout that convolutions on a CPU are quickest in."""
    network = PaperNet(config) if config.form == "paper" else DeceptronNet(config)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
