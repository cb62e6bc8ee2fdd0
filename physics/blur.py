"""A camera: y = downsample(sensor(k * x)) + noise, for images of any size, channel by channel, with its exact adjoint.

k * x is a convolution (k is flipped against x) with an extension of x beyond its border: by zeros, mirrored about the
edge pixel, or periodic. Downsampling is the mean over factor x factor pixels. The sensor is linear, or the paper's
sigmoid(1.2 (z - 0.5)). The convolution is exact at every border, whichever way it is computed; transfer functions are
for methods that divide in Fourier space.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from physics.correlation import correlated

Border = Literal["zero", "reflect", "periodic"]
Sensor = Literal["identity", "sigmoid"]
BORDERS: tuple[Border, ...] = ("zero", "reflect", "periodic")
FACTORS = (1, 2, 4)
SENSOR_GAIN, SENSOR_MIDDLE = 1.2, 0.5  # arXiv 2511.21076, section 4
SQRT_NOISE = 0.03  # the paper's noise: this times sqrt(y)


@dataclass(frozen=True)
class Blur:
    """The forward map of one kernel (kh, kw), or of one kernel per image (B, kh, kw); sides odd.

    Example:
        >>> camera = Blur(gaussian(1.3), factor=2)
        >>> y = camera.forward(x)  # (B, C, H, W) -> (B, C, H / 2, W / 2)
    """

    kernel: Tensor
    border: Border = "reflect"
    factor: int = 1
    sensor: Sensor = "identity"

    def __post_init__(self) -> None:
        if self.kernel.ndim not in (2, 3) or any(side % 2 == 0 for side in self.kernel.shape[-2:]):
            raise ValueError(f"a kernel has odd sides, (kh, kw) or (B, kh, kw), not {tuple(self.kernel.shape)}")
        if self.factor not in FACTORS:
            raise ValueError(f"the factor must be one of {', '.join(map(str, FACTORS))}, not {self.factor}")
        if self.border not in BORDERS:
            raise ValueError(f"the border must be one of {', '.join(BORDERS)}, not {self.border!r}")
        if self.sensor not in ("identity", "sigmoid"):
            raise ValueError(f"the sensor must be identity or sigmoid, not {self.sensor!r}")

    @property
    def reach(self) -> tuple[int, int]:
        """Pixels that the kernel looks at to each side: (rows, columns)."""
        return self.kernel.shape[-2] // 2, self.kernel.shape[-1] // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / factor, W / factor)."""
        return self._down(self._sensed(self._blurred(x)))

    def linear(self, x: Tensor) -> Tensor:
        """The same with a linear sensor."""
        return self._down(self._blurred(x))

    def adjoint(self, r: Tensor) -> Tensor:
        """The transpose of ``linear``: (B, C, h, w) -> (B, C, h factor, w factor)."""
        return self._blurred_back(self._up(r))

    def pulled(self, x: Tensor, r: Tensor) -> Tensor:
        """J(x)^T r, J the derivative of ``forward`` at x."""
        up = self._up(r)
        if self.sensor == "identity":
            return self._blurred_back(up)
        z = self._sensed(self._blurred(x))
        return self._blurred_back(SENSOR_GAIN * z * (1.0 - z) * up)

    def size_of_x(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the image whose observation has that many."""
        return height * self.factor, width * self.factor

    def transfer(self, height: int, width: int) -> Tensor:
        """Fourier transform of the kernel on a periodic grid, its middle at the origin: (..., H, W // 2 + 1)."""
        out: Tensor = torch.fft.rfft2(periodic_kernel(self.kernel, height, width))
        return out

    def _blurred(self, x: Tensor) -> Tensor:
        rows, columns = self.reach
        wide = _extended(_extended(x, rows, -2, self.border), columns, -1, self.border)
        return self._correlated(wide, self.kernel.flip(-2, -1))

    def _blurred_back(self, r: Tensor) -> Tensor:
        """Spread over the extended image, then each value back to the pixel that it was copied from."""
        rows, columns = self.reach
        wide = self._correlated(pad(r, (2 * columns, 2 * columns, 2 * rows, 2 * rows)), self.kernel)
        return _folded(_folded(wide, columns, -1, self.border), rows, -2, self.border)

    def _correlated(self, x: Tensor, kernel: Tensor) -> Tensor:
        return correlated(x, kernel)

    def _sensed(self, z: Tensor) -> Tensor:
        return torch.sigmoid(SENSOR_GAIN * (z - SENSOR_MIDDLE)) if self.sensor == "sigmoid" else z

    def _down(self, z: Tensor) -> Tensor:
        if z.shape[-2] % self.factor or z.shape[-1] % self.factor:
            raise ValueError(f"an image of {z.shape[-2]} x {z.shape[-1]} is not a multiple of the factor {self.factor}")
        return avg_pool2d(z, self.factor) if self.factor > 1 else z

    def _up(self, r: Tensor) -> Tensor:
        if self.factor == 1:
            return r
        return interpolate(r, scale_factor=float(self.factor), mode="nearest") / self.factor**2


def gaussian_noise(y: Tensor, std: Tensor | float, generator: Generator) -> Tensor:
    """y (B, C, h, w) with independent noise of that standard deviation (a number, or one that broadcasts)."""
    return y + std * torch.randn(y.shape, generator=generator, dtype=y.dtype)


def sqrt_noise(y: Tensor, generator: Generator, level: float = SQRT_NOISE) -> Tensor:
    """y with noise of standard deviation level * sqrt(y), as photons make it."""
    return gaussian_noise(y, level * y.clamp_min(0.0).sqrt(), generator)


def periodic_kernel(kernel: Tensor, height: int, width: int) -> Tensor:
    """The kernel (..., kh, kw) laid onto a periodic grid (..., H, W), its middle at the origin; it may wrap around."""
    for axis, size in ((-2, height), (-1, width)):
        side = kernel.shape[axis]
        at = torch.arange(-(side // 2), side // 2 + 1, device=kernel.device) % size
        shape = list(kernel.shape)
        shape[axis] = size
        kernel = kernel.new_zeros(shape).index_add(axis, at, kernel)
    return kernel


def _sources(size: int, reach: int, border: Border, device: torch.device) -> Tensor:
    """Index of the pixel that each place of the extended axis copies, (size + 2 reach,)."""
    at = torch.arange(-reach, size + reach, device=device)
    if border == "periodic":
        return at % size
    period = max(1, 2 * size - 2)  # mirrored about the edge pixel: d c b | a b c d | c b a
    at = at % torch.full_like(at, period)  # a tensor: an exporter takes no open size after a %
    return torch.minimum(at, period - at) if size > 1 else at


def _extended(x: Tensor, reach: int, axis: int, border: Border) -> Tensor:
    """x with ``reach`` more places at both ends of an axis."""
    if reach == 0:
        return x
    if border == "zero":
        return pad(x, (reach, reach) if axis == -1 else (0, 0, reach, reach))
    return x.index_select(axis, _sources(x.shape[axis], reach, border, x.device))


def _folded(wide: Tensor, reach: int, axis: int, border: Border) -> Tensor:
    """The transpose of ``_extended``."""
    if reach == 0:
        return wide
    size = wide.shape[axis] - 2 * reach
    if border == "zero":
        return wide.narrow(axis, reach, size)
    shape = list(wide.shape)
    shape[axis] = size
    return wide.new_zeros(shape).index_add(axis, _sources(size, reach, border, wide.device), wide)
