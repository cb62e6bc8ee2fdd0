"""DeceptronNet's six steps as one map of plain tensors, for a graph: no tiles, and Fourier transforms by matrices.

ONNX's own DFT took the CPU runtime 100 ms for one pair of transforms of 540 x 540, and the CUDA one has no kernel for
it; as matrix products a pair takes 20. Start, filter and matrices are inputs, made once a picture (``steps_inputs``).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.deceptronnet import DeceptronNet
from physics.blur import Blur
from physics.correlation import directly
from physics.wiener import Wiener, continued

INPUTS = ("y", "start", "noise_std", "kernel", "filter", "down", "across", "back")


class AllSteps(nn.Module):
    """x_0 -> x_N in one call, for one plane seen at full resolution, with a mirrored border."""

    def __init__(self, network: DeceptronNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        y: Tensor,
        start: Tensor,
        noise_std: Tensor,
        kernel: Tensor,
        filter: Tensor,
        down: Tensor,
        across: Tensor,
        back: Tensor,
    ) -> Tensor:
        """y and x_0 (1, 1, H, W), noise_std (1,), kernel (kh, kw), and the linear estimator's matrices."""
        camera, linear = _DirectBlur(kernel), _MatrixFilter(filter, down, across, back)
        still = self.network.still(y, start, camera, noise_std)
        x, carried = start, self.network.nothing_carried(start)
        for t in range(self.network.config.steps):
            x, carried = self.network.step(t, x, carried, still, y, camera, linear, tile=WHOLE)
        return x


WHOLE = 1 << 30


def steps_inputs(network: DeceptronNet, y: Tensor, blur: Blur, noise_std: Tensor) -> tuple[Tensor, ...]:
    """What ``AllSteps`` takes for an observation (1, 1, H, W), in the order of INPUTS."""
    linear = Wiener.of(blur, noise_std, *y.shape[-2:])
    height, width = (size + margin for size, margin in zip(linear.size, linear.margins, strict=True))
    spectrum = linear.transposed[0, 0]
    start = network.beginning(y, linear, noise_std)
    return (
        y,
        start,
        noise_std,
        blur.kernel,
        torch.stack([spectrum.real, spectrum.imag]),
        *fourier_matrices(height, width),
    )


def fourier_matrices(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of a grid's transform: down its columns (2, H, H), across its rows (W, W + 2), and back along them (W + 2, W).

    ``down`` is (cos, sin); ``across`` gives real parts and then imaginary ones, which ``back`` takes.
    """
    cos, sin = _waves(height, height)
    down = torch.stack([cos, sin])
    cos, sin = _waves(width, width // 2 + 1)
    stands_for = torch.full((width // 2 + 1, 1), 2.0)  # itself and its mirror image, save the first and the last wave
    stands_for[0] = 1.0
    if width % 2 == 0:
        stands_for[-1] = 1.0
    back = torch.cat([stands_for * cos.T, -stands_for * sin.T]) / (width * height)
    return down, torch.cat([cos, -sin], 1), back


def _waves(size: int, count: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi j k / size for j < size, k < count; the phase is reduced while it is a whole number."""
    phase = (torch.arange(size)[:, None] * torch.arange(count)) % size
    angle = phase.double() * (2.0 * math.pi / size)
    return angle.cos().float(), angle.sin().float()


class _DirectBlur(Blur):
    """The same camera, whose convolution is always one: a graph holds one way only. Its kernel was checked before."""

    def __post_init__(self) -> None:
        pass

    def _correlated(self, x: Tensor, kernel: Tensor) -> Tensor:
        return directly(x, kernel)


@dataclass(frozen=True)
class _MatrixFilter:
    """``Wiener.__call__`` by matrix products: filter (2, H, W / 2 + 1) holds real and imaginary parts."""

    filter: Tensor
    down: Tensor
    across: Tensor
    back: Tensor

    def __call__(self, y: Tensor) -> Tensor:
        """(1, 1, h, w) -> the same."""
        height, width = y.shape[-2:]
        cos, sin = self.down
        wide = continued(y, (cos.shape[0] - height, self.across.shape[0] - width), "reflect")
        waves = self.filter.shape[-1]
        row = wide[0, 0] @ self.across
        real, imaginary = self._column(row[:, :waves], row[:, waves:], cos, sin)
        a, b = self.filter
        real, imaginary = a * real - b * imaginary, a * imaginary + b * real
        real, imaginary = self._column(real, imaginary, cos, -sin)
        return (torch.cat([real, imaginary], 1) @ self.back)[None, None, :height, :width]

    @staticmethod
    def _column(real: Tensor, imaginary: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """(cos - i sin) (real + i imaginary)."""
        both = torch.cat([real, imaginary], 1)
        c, s = cos @ both, sin @ both
        waves = real.shape[1]
        return c[:, :waves] + s[:, waves:], c[:, waves:] - s[:, :waves]
