"""Photographs that ship inside Python packages, found without importing them, split by scene and never by patch.

None of them is copied into this repository; they come with the extras ``train`` and ``bench``.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma


class Use(StrEnum):
    """What a scene may be used for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    STRANGE = "strange"  # not photographs of the usual kind: drawn lines, letters, a crater field


@dataclass(frozen=True)
class Scene:
    """One photograph, or several of one scene (stereo pairs)."""

    name: str
    use: Use
    package: str
    files: tuple[str, ...]


SCENES = (
    Scene("chelsea", Use.TRAIN, "skimage", ("data/chelsea.png",)),
    Scene("coffee", Use.TRAIN, "skimage", ("data/coffee.png",)),
    Scene("rocket", Use.TRAIN, "skimage", ("data/rocket.jpg",)),
    Scene("motorcycle", Use.TRAIN, "skimage", ("data/motorcycle_left.png", "data/motorcycle_right.png")),
    Scene("brick", Use.TRAIN, "skimage", ("data/brick.png",)),
    Scene("grass", Use.TRAIN, "skimage", ("data/grass.png",)),
    Scene("gravel", Use.TRAIN, "skimage", ("data/gravel.png",)),
    Scene("flower", Use.TRAIN, "sklearn", ("datasets/images/flower.jpg",)),
    Scene("aero", Use.TRAIN, "pywt", ("data/aero.npz",)),
    Scene("grace_hopper", Use.TRAIN, "matplotlib", ("mpl-data/sample_data/grace_hopper.jpg",)),
    Scene("coins", Use.VALIDATION, "skimage", ("data/coins.png",)),
    Scene("ascent", Use.VALIDATION, "pywt", ("data/ascent.npz",)),
    Scene("kodim23", Use.TEST, "sporco", ("data/kodim23.png",)),
    Scene("monarch", Use.TEST, "sporco", ("data/monarch.png",)),
    Scene("sail", Use.TEST, "sporco", ("data/sail.png",)),
    Scene("tulips", Use.TEST, "sporco", ("data/tulips.png",)),
    Scene("barbara", Use.TEST, "sporco", ("data/barbara.png",)),
    Scene("china", Use.TEST, "sklearn", ("datasets/images/china.jpg",)),
    Scene("astronaut", Use.TEST, "skimage", ("data/astronaut.png",)),
    Scene("camera", Use.TEST, "skimage", ("data/camera.png",)),
    Scene("page", Use.STRANGE, "skimage", ("data/page.png",)),
    Scene("text", Use.STRANGE, "skimage", ("data/text.png",)),
    Scene("moon", Use.STRANGE, "skimage", ("data/moon.png",)),
)


class NoPhotographs(Exception):
    """A package with photographs is missing; the message says which extra brings it."""


def scenes(use: Use) -> list[Scene]:
    """The scenes for one use."""
    return [scene for scene in SCENES if scene.use is use]


@cache
def photographs(scene: Scene) -> tuple[Tensor, ...]:
    """The scene's images, (3, H, W) or (1, H, W), float32 in [0, 1].

    Raises:
        NoPhotographs: the package, or the file in it, is not there.
    """
    spec = find_spec(scene.package)
    paths = [Path(spec.origin).parent / file for file in scene.files] if spec and spec.origin else []
    if not paths or not all(path.is_file() for path in paths):
        raise NoPhotographs(
            f"{scene.name} comes with the package {scene.package}; pip install 'deceptron-service[train]'"
        )
    return tuple(_read(path) for path in paths)


def grey(image: Tensor) -> Tensor:
    """(3, H, W) or (1, H, W) -> (1, H, W)."""
    if len(image) == 1:
        return image
    return (image * torch.tensor(GREY)[:, None, None]).sum(0, keepdim=True)


def _read(path: Path) -> Tensor:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            pixels = stored["data"][..., None]
    else:
        with Image.open(path) as image:
            pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
            pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return torch.from_numpy(pixels.astype(np.float32) / 255.0).permute(2, 0, 1).contiguous()
