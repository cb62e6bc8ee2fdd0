"""What the deblurring benchmark is measured on: photographs, kernels unlike those of training, noise, and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, conv2d

from physics.blur import Blur, gaussian_noise
from physics.kernels import gaussian, tidy
from training.photographs import Use, grey, photographs, scenes

SIDE = 256  # of the crop that is deblurred; the blur itself saw what lies beyond it
MARGIN = 20  # pixels at the border that do not count
FINE = 8  # points a pixel, where kernels are drawn


@dataclass(frozen=True)
class Camera:
    """The kernel that blurred, the one that the methods are told, the noise, and how many pixels it averages."""

    name: str
    kernel: Tensor
    told: Tensor
    noise_std: float
    factor: int = 1


@dataclass(frozen=True)
class Case:
    """One photograph through one camera: sharp x and observation y, (1, 1, SIDE, SIDE)."""

    scene: str
    camera: Camera
    seed: int
    x: Tensor
    y: Tensor

    @property
    def blur(self) -> Blur:
        """The camera as the methods are told it."""
        return Blur(self.camera.told, factor=self.camera.factor)


def cameras() -> list[Camera]:
    """A Gaussian; one told 15 % too narrow; a hexagonal aperture and a curved shake, families unseen in training."""
    round_, wide, told = gaussian(1.6), gaussian(2.0), gaussian(1.7)
    aperture, shake = hexagon(4.3), curved_shake()
    return [
        Camera("gaussian 1.6", round_, round_, 0.01),
        Camera("gaussian 2.0 told 1.7", wide, told, 0.01),
        Camera("hexagon 4.3", aperture, aperture, 0.01),
        Camera("curved shake", shake, shake, 0.01),
    ]


def hexagon(radius: float) -> Tensor:
    """Defocus through six blades: a hexagon of that circumradius (pixels), one corner up and a little turned."""
    x, y = _fine_grid(int(radius) + 1)
    inside = torch.ones_like(x * y, dtype=torch.bool)
    for side in range(6):
        angle = torch.tensor(torch.pi / 3 * side + 0.2)
        inside &= x * angle.cos() + y * angle.sin() <= radius * 3**0.5 / 2
    return tidy(_binned(inside.double()))


def curved_shake() -> Tensor:
    """A hand that swings: an arc that ends in a hook, drawn half a pixel thick."""
    t = torch.linspace(0.0, 1.0, 400, dtype=torch.float64)
    along, across = 14.0 * t - 7.0, 6.0 * torch.sin(2.6 * t) - 3.0 + 2.0 * t.pow(6)
    x, y = _fine_grid(9)
    near = torch.zeros(y.shape[0], x.shape[1], dtype=torch.float64)
    for a, b in zip(along.tolist(), across.tolist(), strict=True):
        near += torch.exp(-((x - a).square() + (y - b).square()) / (2 * 0.35**2))
    kernel = _binned(near)
    rows, columns = (kernel.sum(axis) for axis in (1, 0))
    at = torch.arange(len(kernel)) - len(kernel) // 2
    shift = [-round(float((weight * at).sum() / weight.sum())) for weight in (rows, columns)]
    kernel = kernel.roll(shift, (0, 1))
    return tidy(kernel * (kernel > 1e-3 * kernel.max()))


def cases(use: Use, seeds: int, side: int = SIDE, scenes_at_most: int | None = None) -> list[Case]:
    """Every scene's middle through every camera, with that many draws of the noise."""
    return cases_through(cameras(), use, seeds, side, scenes_at_most)


def cases_through(
    through: Sequence[Camera], use: Use, seeds: int, side: int = SIDE, scenes_at_most: int | None = None
) -> list[Case]:
    """The same through any cameras."""
    found = []
    for scene in scenes(use)[:scenes_at_most]:
        image = grey(photographs(scene)[0])[None]
        for index, camera in enumerate(through):
            x, clean = _cropped(image, camera, side)
            for seed in range(seeds):
                generator = Generator().manual_seed(1000 * index + seed)
                y = gaussian_noise(clean, camera.noise_std, generator)
                found.append(Case(scene.name, camera, seed, x, y))
    return found


def psnr(x: Tensor, truth: Tensor) -> float:
    """Of images in [0, 1], in dB, the border left out."""
    inside = slice(MARGIN, -MARGIN)
    error = (x.clamp(0.0, 1.0) - truth)[..., inside, inside].square().mean()
    return -10.0 * float(torch.log10(error))


def ssim(x: Tensor, truth: Tensor) -> float:
    """Structural similarity (Wang et al. 2004): windows of 11 x 11 with sigma 1.5, the border left out."""
    inside = slice(MARGIN, -MARGIN)
    a, b = (image.clamp(0.0, 1.0)[..., inside, inside].double() for image in (x, truth))
    window = gaussian(1.5, 11).double()[None, None]
    mean_a, mean_b = conv2d(a, window), conv2d(b, window)
    var_a = conv2d(a * a, window) - mean_a.square()
    var_b = conv2d(b * b, window) - mean_b.square()
    both = conv2d(a * b, window) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    over = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((over / ((mean_a.square() + mean_b.square() + c1) * (var_a + var_b + c2))).mean())


def _cropped(image: Tensor, camera: Camera, side: int) -> tuple[Tensor, Tensor]:
    """The middle of an image and what a noiseless camera sees there, beyond the crop as well."""
    reach, factor = max(camera.kernel.shape) // 2, camera.factor
    height, width = image.shape[-2:]
    side = min(side, height - 2 * reach, width - 2 * reach)
    side -= side % factor
    top, left = (height - side) // 2, (width - side) // 2
    wide = image[..., top - reach : top + side + reach, left - reach : left + side + reach]
    inside = slice(reach, reach + side)
    blurred = Blur(camera.kernel).forward(wide)[..., inside, inside]
    return wide[..., inside, inside], avg_pool2d(blurred, factor) if factor > 1 else blurred


def _fine_grid(reach: int) -> tuple[Tensor, Tensor]:
    at = (torch.arange((2 * reach + 1) * FINE, dtype=torch.float64) + 0.5) / FINE - reach - 0.5
    return at[None, :], at[:, None]


def _binned(fine: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(fine[None], FINE)[0]
