"""Batches for the deblurring networks: sharp images, the camera that blurred them, and what it saw.

Photographs: random crops of the training scenes at several scales, flipped, one random mixture of their colours, with a
random kernel and noise level each. The paper's task: smoothed noise, one Gaussian of unknown width, sigmoid sensor.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, interpolate

from physics.blur import SQRT_NOISE, Blur, gaussian_noise, sqrt_noise
from physics.kernels import disk, framed, gaussian, motion
from training.data import Split
from training.photographs import Use, photographs, scenes

KERNEL_SIDE = 25
KERNEL_BANK = 3000
SCALES = (1.0, 0.75, 0.5)
TOLD_NOISE_SPREAD = 0.1  # standard deviation of the log of the told over the true noise level

PAPER_SIDE, PAPER_FACTOR, PAPER_KERNEL = 64, 2, 11
PAPER_SIGMAS, PAPER_NOMINAL = (0.7, 2.0), 1.3
PAPER_SMOOTHING = 2.0  # pixels; the paper does not say. With it the linear estimate's error is just below the paper's


@dataclass(frozen=True)
class Blurred:
    """Sharp x (B, 1, H, W), observation y, the camera as the network is told it, and the told noise level (B,)."""

    x: Tensor
    y: Tensor
    blur: Blur
    noise_std: Tensor
    margin: int = 0  # pixels at the border that do not count


class Source(Protocol):
    """Where batches come from."""

    def batch(self, size: int, generator: Generator) -> Blurred:
        """A batch of that many images; all randomness comes from the generator."""
        ...


def uniform(low: float, high: float, generator: Generator) -> float:
    """One number, evenly between low and high."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def random_kernel(generator: Generator) -> Tensor:
    """One of the families that training knows: Gaussians (round and long), disks, straight motion (sharp and soft)."""
    which = uniform(0.0, 1.0, generator)
    if which < 0.40:
        return gaussian(uniform(0.3, 3.0, generator), KERNEL_SIDE)
    if which < 0.50:
        return long_gaussian(uniform(0.5, 3.0, generator), uniform(0.3, 1.0, generator), uniform(0.0, 180.0, generator))
    if which < 0.70:
        return framed(disk(uniform(0.7, 5.5, generator)), KERNEL_SIDE)
    line = framed(motion(uniform(1.0, 17.0, generator), uniform(0.0, 180.0, generator)), KERNEL_SIDE)
    if which < 0.85:
        return line
    return Blur(gaussian(uniform(0.3, 1.0, generator)), "zero").linear(line[None, None])[0, 0]


def long_gaussian(sigma: float, ratio: float, degrees: float) -> Tensor:
    """A Gaussian of standard deviation sigma along one direction and ratio * sigma across it."""
    at = torch.arange(KERNEL_SIDE, dtype=torch.float32) - KERNEL_SIDE // 2
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along, across = c * at[None, :] - s * at[:, None], s * at[None, :] + c * at[:, None]
    kernel = torch.exp(-0.5 * ((along / sigma).square() + (across / (ratio * sigma)).square()))
    return kernel / kernel.sum()


@dataclass
class Photographs:
    """Crops of photographs under random cameras.

    Attributes:
        side: of a crop. shares: of batches with factor 1, 2 and 4. beyond: share of batches (factor 1) whose blur saw
            what truly lies beyond the crop, as in life; the network is told a mirrored border all the same.
    """

    use: Use = Use.TRAIN
    side: int = 96
    noise: tuple[float, float] = (0.002, 0.04)
    shares: tuple[float, float, float] = (0.85, 0.1, 0.05)
    beyond: float = 0.2
    seed: int = 0
    _images: list[list[Tensor]] = field(default_factory=list, init=False)
    _kernels: Tensor = field(default_factory=lambda: torch.empty(0), init=False)

    def __post_init__(self) -> None:
        generator = Generator().manual_seed(self.seed)
        self._images = [
            [_scaled(image, scale) for image in photographs(scene) for scale in SCALES] for scene in scenes(self.use)
        ]
        bank = [random_kernel(generator) for _ in range(KERNEL_BANK if self.use is Use.TRAIN else KERNEL_BANK // 10)]
        self._kernels = torch.stack([framed(kernel, KERNEL_SIDE) for kernel in bank])

    def batch(self, size: int, generator: Generator) -> Blurred:
        """Crops of ``side`` pixels."""
        kernels = self._kernels[torch.randint(len(self._kernels), (size,), generator=generator)]
        std = torch.exp(torch.empty(size).uniform_(*map(math.log, self.noise), generator=generator))
        told = std * torch.exp(TOLD_NOISE_SPREAD * torch.randn(size, generator=generator))
        draw = uniform(0.0, 1.0, generator)
        factor = 1 if draw < self.shares[0] else 2 if draw < self.shares[0] + self.shares[1] else 4
        blur = Blur(kernels, "reflect", factor)
        reach = KERNEL_SIDE // 2
        if factor == 1 and uniform(0.0, 1.0, generator) < self.beyond:
            wide = self.crops(size, self.side + 2 * reach, generator)
            inside = slice(reach, -reach)
            clean, x = blur.forward(wide)[..., inside, inside], wide[..., inside, inside]
            return Blurred(x, gaussian_noise(clean, std[:, None, None, None], generator), blur, told, reach)
        x = self.crops(size, self.side, generator)
        return Blurred(x, gaussian_noise(blur.forward(x), std[:, None, None, None], generator), blur, told)

    def crops(self, size: int, side: int, generator: Generator) -> Tensor:
        """Random sharp crops (size, 1, side, side)."""
        return torch.stack([self._crop(side, generator) for _ in range(size)])

    def _crop(self, side: int, generator: Generator) -> Tensor:
        def pick(count: int) -> int:
            return int(torch.randint(count, (), generator=generator))

        versions = self._images[pick(len(self._images))]
        image = versions[pick(len(versions))]
        top, left = pick(image.shape[1] - side + 1), pick(image.shape[2] - side + 1)
        crop = image[:, top : top + side, left : left + side]
        mixture = torch.rand(len(crop), generator=generator).add(1e-3)
        crop = (crop * (mixture / mixture.sum())[:, None, None]).sum(0, keepdim=True)
        contrast = uniform(0.6, 1.0, generator)
        crop = contrast * crop + uniform(0.0, 1.0 - contrast, generator)
        crop = 1.0 - crop if pick(4) == 0 else crop
        crop = crop.flip(-1) if pick(2) else crop
        crop = crop.flip(-2) if pick(2) else crop
        return crop.transpose(-1, -2) if pick(2) else crop


@dataclass
class PaperImages:
    """The paper's 2D task, a fixed set of images: smoothed noise stretched to [0, 1], 64 x 64, seen at half resolution.

    The network is told the nominal PSF, whatever the true one is.
    """

    split: Split = Split.TRAIN
    count: int = 4000
    seed: int = 0
    x: Tensor = field(init=False)
    y: Tensor = field(init=False)
    sigma: Tensor = field(init=False)

    def __post_init__(self) -> None:
        generator = Generator().manual_seed(self.seed * len(Split) + int(self.split))
        noise = torch.rand(self.count, 1, PAPER_SIDE, PAPER_SIDE, generator=generator)
        smooth = Blur(gaussian(PAPER_SMOOTHING)).forward(noise)
        low, high = smooth.amin((1, 2, 3), keepdim=True), smooth.amax((1, 2, 3), keepdim=True)
        self.x = (smooth - low) / (high - low)
        self.sigma = torch.empty(self.count).uniform_(*PAPER_SIGMAS, generator=generator)
        self.y = sqrt_noise(self.camera(slice(None)).forward(self.x), generator)

    def camera(self, rows: Tensor | slice) -> Blur:
        """The true cameras of some images."""
        kernels = torch.stack([gaussian(sigma, PAPER_KERNEL) for sigma in self.sigma[rows].tolist()])
        return Blur(kernels, "reflect", PAPER_FACTOR, "sigmoid")

    def batch(self, size: int, generator: Generator) -> Blurred:
        """Images of the set, with replacement."""
        return self.rows(torch.randint(self.count, (size,), generator=generator))

    def rows(self, rows: Tensor) -> Blurred:
        """These images of the set."""
        return Blurred(self.x[rows], self.y[rows], nominal_camera(), torch.full((len(rows),), SQRT_NOISE / 2**0.5))


def nominal_camera() -> Blur:
    """The camera that the paper's network is told."""
    return Blur(gaussian(PAPER_NOMINAL, PAPER_KERNEL), "reflect", PAPER_FACTOR, "sigmoid")


def _scaled(image: Tensor, scale: float) -> Tensor:
    if scale == 1.0:
        return image
    if scale == 0.5:
        return avg_pool2d(image, 2)
    out = interpolate(image[None], scale_factor=scale, mode="bicubic", antialias=True, align_corners=False)[0]
    return out.clamp(0.0, 1.0)
