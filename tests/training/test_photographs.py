"""Photographs are found and kept apart by scene; batches are random, repeatable and what they claim to be."""

import pytest
import torch
from torch import Generator

from physics.blur import Blur
from training.data import Split
from training.images import KERNEL_SIDE, PaperImages, Photographs, random_kernel
from training.photographs import SCENES, NoPhotographs, Scene, Use, grey, photographs, scenes


@pytest.fixture(scope="module")
def source() -> Photographs:
    return Photographs(Use.VALIDATION, side=48)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_every_scene_is_there(scene: Scene) -> None:
    for image in photographs(scene):
        assert image.shape[0] in (1, 3)
        assert min(image.shape[1:]) >= 172
        assert image.min() >= 0.0
        assert 0.9 < image.max() <= 1.0 or scene.name in ("moon", "gravel", "coins", "brick", "page", "text")
        assert image.std() > 0.03
        assert grey(image).shape == (1, *image.shape[1:])


def test_no_scene_has_two_uses() -> None:
    assert len({scene.name for scene in SCENES}) == len(SCENES)
    assert len({file for scene in SCENES for file in scene.files}) == sum(len(scene.files) for scene in SCENES)
    assert len(scenes(Use.TEST)) == 8


def test_a_missing_package_is_named() -> None:
    with pytest.raises(NoPhotographs, match="comes with the package no_such_package"):
        photographs(Scene("nowhere", Use.TEST, "no_such_package", ("a.png",)))


def test_a_batch_follows_from_its_generator(source: Photographs) -> None:
    first, again, other = (source.batch(3, Generator().manual_seed(seed)) for seed in (5, 5, 6))
    torch.testing.assert_close(first.y, again.y)
    assert not torch.equal(first.x, other.x[..., : first.x.shape[-2], : first.x.shape[-1]])


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_y_is_the_camera_of_x_and_noise(factor: int) -> None:
    shares = tuple(float(factor == each) for each in (1, 2, 4))
    source = Photographs(Use.VALIDATION, side=48, shares=shares, beyond=0.0, noise=(0.01, 0.01001))  # type: ignore[arg-type]
    item = source.batch(6, Generator().manual_seed(0))
    assert item.blur.factor == factor
    noise = item.y - item.blur.forward(item.x)
    assert noise.std().item() == pytest.approx(0.01, rel=0.15)


def test_beyond_the_crop_lies_the_photograph() -> None:
    """With ``beyond`` the mirrored camera explains y inside the margin, and not at the border."""
    source = Photographs(Use.VALIDATION, side=48, shares=(1.0, 0.0, 0.0), beyond=1.0, noise=(0.002, 0.00201))
    item = source.batch(12, Generator().manual_seed(1))
    error = (item.y - item.blur.forward(item.x)).abs()
    m = item.margin
    assert m == KERNEL_SIDE // 2
    assert error[..., m:-m, m:-m].max() < 0.012
    assert error[..., 0, :].max() > 0.05


def test_kernels_keep_the_brightness() -> None:
    generator = Generator().manual_seed(0)
    for _ in range(40):
        kernel = random_kernel(generator)
        assert kernel.shape == (KERNEL_SIDE, KERNEL_SIDE)
        assert kernel.sum().item() == pytest.approx(1.0, abs=1e-5)
        assert kernel.min() >= 0


def test_the_papers_images_fill_their_range_and_each_has_its_own_blur() -> None:
    source = PaperImages(Split.VALIDATION, 20)
    assert source.x.shape == (20, 1, 64, 64)
    assert source.y.shape == (20, 1, 32, 32)
    assert source.x.amin((1, 2, 3)).abs().max() == 0.0
    assert (source.x.amax((1, 2, 3)) - 1.0).abs().max() < 1e-6
    noise = source.y - source.camera(slice(None)).forward(source.x)
    assert (noise / source.y.clamp_min(0.1).sqrt()).std().item() == pytest.approx(0.03, rel=0.05)
    told = source.batch(4, Generator().manual_seed(0)).blur
    assert isinstance(told, Blur)
    assert told.kernel.shape == (11, 11)
    assert not torch.equal(PaperImages(Split.TEST, 4).x, PaperImages(Split.TRAIN, 4).x)
