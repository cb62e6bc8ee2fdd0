"""Training an image network: losses, resuming, and a checkpoint that can be served at the end."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator

from models.deceptronnet import NetworkConfig
from models.registry import Registry
from training.images import Blurred, PaperImages, Photographs
from training.network_recipes import NETWORK_RECIPES, NetworkRecipe
from training.network_run import train_network
from training.network_trainer import NetworkTrainer, loss_of, mean_square_error
from training.photographs import Use
from training.resume import CannotResume
from trust.images import ImageCalibration, judge_image


def tiny_source() -> Photographs:
    return Photographs(Use.VALIDATION, side=32)


TINY = NetworkRecipe(
    name="tiny",
    version=1,
    title="Tiny",
    network=NetworkConfig("shipped", steps=2, widths=(4, 6), blocks=(0, 1), carried=2),
    source=tiny_source,
    batches=6,
    batch_size=2,
    learning_rate=1e-2,
    warm_up=1,
)


def trained(recipe: NetworkRecipe, at: Path, resume: bool = False, seed: int = 0) -> NetworkTrainer:
    trainer = NetworkTrainer(recipe, seed, at / "resume.safetensors", quiet=True)
    trainer.run(resume)
    return trainer


def test_every_recipe_makes_a_network_and_a_source() -> None:
    for name, recipe in NETWORK_RECIPES.items():
        assert recipe.name == name.partition("@")[0]
        assert recipe.smoke().batches == 3


def test_an_interrupted_run_comes_to_the_same_weights(tmp_path: Path) -> None:
    straight = trained(TINY, tmp_path / "a")
    half = NetworkTrainer(TINY, 0, tmp_path / "b" / "resume.safetensors", quiet=True)
    source = tiny_source()
    for _ in range(3):
        half._batch(source)
    half._save()
    resumed = trained(TINY, tmp_path / "b", resume=True)
    assert resumed.batches_done == straight.batches_done == 6
    for a, b in zip(straight.averaged.parameters(), resumed.averaged.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_foreign_or_damaged_resume_file_is_refused(tmp_path: Path) -> None:
    trained(replace(TINY, batches=1), tmp_path)
    with pytest.raises(CannotResume, match="from another seed"):
        trained(TINY, tmp_path, resume=True, seed=1)
    (tmp_path / "resume.safetensors").write_bytes(b"no")
    with pytest.raises(CannotResume, match="damaged"):
        trained(TINY, tmp_path, resume=True)


def test_a_time_limit_ends_a_run(tmp_path: Path) -> None:
    assert trained(replace(TINY, batches=10**9, limit_s=0.01), tmp_path).batches_done < 10**6


def test_the_loss_counts_images_alike_and_the_early_steps_a_little() -> None:
    x = torch.zeros(2, 1, 8, 8)
    blurred = Blurred(x, x, Photographs(Use.VALIDATION, 32).batch(2, Generator()).blur, torch.ones(2), margin=2)
    step = torch.stack([torch.full((1, 8, 8), 0.1), torch.full((1, 8, 8), 0.01)])
    step[..., 0, :] = 9.0  # in the margin
    torch.testing.assert_close(mean_square_error(step, blurred), torch.tensor([1e-2, 1e-4]))
    loss = loss_of([10 * step, step], blurred, replace(TINY, early=0.5))
    assert loss.item() == pytest.approx(-3.0 + 0.5 * -1.0, abs=1e-2)
    mse = loss_of([step], blurred, replace(TINY, loss="mse"))
    assert mse.item() == pytest.approx((1e-2 + 1e-4) / 2)


def test_a_run_ends_in_a_checkpoint_that_judges(tmp_path: Path) -> None:
    train_network(TINY, tmp_path, budget="smoke", quiet=True)
    loaded = Registry(tmp_path).load_network("tiny")
    assert loaded.manifest.data["batches"] == 3
    assert loaded.manifest.images["validation"] == ["coins", "ascent"]
    assert {"psnr_db", "gain_db"} <= set(loaded.manifest.metrics)
    item = tiny_source().batch(1, Generator().manual_seed(3))
    x = item.x.clamp(0, 1)
    calibration = ImageCalibration.from_tensors(loaded.calibration)
    (found,) = judge_image(loaded.network, calibration, x, item.y, item.blur, 0.01)
    assert found["verdict"] in ("in_range", "suspect", "out_of_range")
    assert not (tmp_path / "tiny" / ".resume-smoke-0.safetensors").exists()


def test_a_run_goes_on_from_an_earlier_version_and_says_so(tmp_path: Path) -> None:
    second = replace(TINY, version=2, starts_from=1, learning_rate=0.0)
    with pytest.raises(CannotResume, match="starts from version 1"):
        train_network(second, tmp_path, budget="smoke", quiet=True)
    train_network(TINY, tmp_path, budget="smoke", quiet=True)
    with pytest.raises(CannotResume, match="another architecture"):
        train_network(replace(second, network=replace(TINY.network, steps=3)), tmp_path, budget="smoke", quiet=True)
    train_network(second, tmp_path, budget="smoke", quiet=True)
    first, then = (Registry(tmp_path).load_network("tiny", version) for version in (1, 2))
    assert then.manifest.started_from == first.manifest.files["model.safetensors"].sha256
    assert first.manifest.started_from is None
    for a, b in zip(first.network.parameters(), then.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_the_papers_task_trains_on_its_own_images(tmp_path: Path) -> None:
    small = replace(NETWORK_RECIPES["deblur-paper"], network=NetworkConfig("paper", steps=2, widths=(4, 6)))
    train_network(replace(small, source=lambda: PaperImages(count=8)), tmp_path, budget="smoke", quiet=True)
    manifest = Registry(tmp_path).network_manifest("deblur-paper")
    assert manifest.images == {"train": ["smoothed noise"]}
    assert manifest.metrics["x_rmse"] < 0.5
