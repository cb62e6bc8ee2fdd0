"""From a network recipe's name to a checkpoint on disk: training, metrics on held-out images, calibration."""

import platform
import sys
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path

import torch
from torch import Generator, Tensor

from models.checkpoint import MODEL, CheckpointError, NetworkManifest, read_network_manifest, save
from models.deblurring import deblur
from models.deceptronnet import ImageNetwork
from models.export import store_graphs
from models.registry import LoadedNetwork, Registry, UnknownCheckpoint
from physics.blur import Blur
from physics.wiener import Wiener, wiener_start
from training.data import Split
from training.images import Blurred, PaperImages, Photographs
from training.network_recipes import NETWORK_RECIPES, NetworkRecipe
from training.network_trainer import NetworkTrainer, mean_square_error
from training.photographs import Use, scenes
from training.resume import CannotResume
from training.run import git_commit
from trust.images import ImageCalibration, calibrate_images

VALIDATION_SEED, CALIBRATION_SEED = 1, 2
CROP = 128  # pixels, of validation and calibration crops
VALIDATION_CROPS, CALIBRATION_CROPS, KNOWN_CROPS, SMOKE_CROPS = 48, 400, 400, 4
PAPER_IMAGES = 400


def train_network(
    recipe: str | NetworkRecipe,
    out: Path,
    seed: int = 0,
    budget: str = "full",
    resume: bool = False,
    quiet: bool = False,
) -> Path:
    """Trains by a recipe and writes the checkpoint ``out/NAME/VERSION``.

    Returns:
        The checkpoint's directory.
    """
    chosen = NETWORK_RECIPES[recipe] if isinstance(recipe, str) else recipe
    chosen = chosen if budget == "full" else chosen.smoke()
    trainer = NetworkTrainer(
        chosen, seed, out / chosen.name / f".resume-{budget}-{seed}.safetensors", quiet, start_of(chosen, out)
    )
    trainer.run(resume)
    directory = keep(trainer, out, budget, quiet)
    trainer.finish()
    return directory


def start_of(recipe: NetworkRecipe, out: Path) -> LoadedNetwork | None:
    """The earlier version that a recipe starts from, looked for where the new one will be written.

    Raises:
        CannotResume: it is not there, or is another kind of network.
    """
    if recipe.starts_from is None:
        return None
    try:
        start = Registry(out).load_network(recipe.name, recipe.starts_from)
    except (UnknownCheckpoint, CheckpointError) as error:
        raise CannotResume(f"{recipe.name} starts from version {recipe.starts_from} in {out}: {error}") from error
    if start.manifest.architecture != recipe.network:
        raise CannotResume(f"{recipe.name}/{recipe.starts_from} in {out} is of another architecture than the recipe's")
    return start


def keep(trainer: NetworkTrainer, out: Path, budget: str, quiet: bool = False) -> Path:
    """Judges what a trainer has come to, calibrates it and writes its checkpoint."""
    recipe, network = trainer.recipe, trainer.averaged.eval()
    smoke = budget == "smoke"
    if recipe.network.form == "paper":
        metrics, calibration = paper_metrics(network, SMOKE_CROPS if smoke else PAPER_IMAGES), None
    else:
        metrics = photograph_metrics(network, SMOKE_CROPS if smoke else VALIDATION_CROPS)
        calibration = calibrated(network, SMOKE_CROPS if smoke else CALIBRATION_CROPS)
    manifest = _manifest(trainer, budget, metrics)
    directory = save(out, manifest, network, {"calibration": calibration.tensors()} if calibration else {})
    if not quiet:
        report = "\n".join(f"  {label:24s} {value:.6g}" for label, value in metrics.items())
        sys.stderr.write(f"{directory} (seed {trainer.seed}, budget {budget})\n{report}\n")
    return directory


def photograph_metrics(network: ImageNetwork, crops: int) -> dict[str, float]:
    """PSNR on crops of the validation scenes under random cameras, beside the linear estimate's."""
    source = Photographs(Use.VALIDATION, CROP, shares=(1.0, 0.0, 0.0), beyond=0.0, seed=VALIDATION_SEED)
    restored, linear = [], []
    for i in range(crops):
        item = source.batch(1, Generator().manual_seed(i))
        restored.append(_psnr(deblur(network, item.y, item.blur, item.noise_std.item()), item))
        start = wiener_start(item.y, Wiener.of(item.blur, item.noise_std, *item.y.shape[-2:]))
        linear.append(_psnr(start, item))
    ours, theirs = torch.cat(restored), torch.cat(linear)
    gain = ours - theirs
    return {
        "psnr_db": ours.mean().item(),
        "psnr_linear_db": theirs.mean().item(),
        "gain_db": gain.mean().item(),
        "least_gain_db": gain.min().item(),
    }


def paper_metrics(network: ImageNetwork, images: int) -> dict[str, float]:
    """Image RMSE on the paper's test images, as the paper takes it: over all pixels of all images."""
    source = PaperImages(Split.TEST, images)
    errors = []
    with torch.no_grad():
        for rows in torch.arange(images).split(40):
            some = source.rows(rows)
            errors.append(mean_square_error(network(some.y, some.blur, some.noise_std)[-1], some))
    return {"x_rmse": torch.cat(errors).mean().sqrt().item()}


def calibrated(network: ImageNetwork, crops: int) -> ImageCalibration:
    """Ranks of the scores on crops of the validation scenes; moments of the statistics from training crops."""
    known = Photographs(Use.TRAIN, CROP, seed=CALIBRATION_SEED).crops(KNOWN_CROPS, CROP, Generator().manual_seed(0))
    source = Photographs(Use.VALIDATION, CROP, shares=(1.0, 0.0, 0.0), beyond=0.0, seed=CALIBRATION_SEED)
    held_out: list[tuple[Tensor, Blur, float]] = []
    for i in range(crops):
        item = source.batch(1, Generator().manual_seed(1_000_000 + i))
        held_out.append((item.y, Blur(item.blur.kernel[0]), item.noise_std.item()))
    return calibrate_images(network, list(known[:, None]), held_out)


def recalibrate_network(name: str, root: Path) -> Path:
    """Ranks a checkpoint's calibration crops again, after scores have changed; nothing is trained."""
    loaded = Registry(root).load_network(name)
    calibration = calibrated(loaded.network, CALIBRATION_CROPS)
    data = {**loaded.manifest.data, "calibration": CALIBRATION_CROPS}
    manifest = loaded.manifest.model_copy(update={"data": data})
    directory = save(root, manifest, loaded.network, {"calibration": calibration.tensors()})
    if loaded.manifest.engine:
        store_graphs(directory, read_network_manifest(directory), loaded.graphs, loaded.manifest.engine)
    return directory


def _psnr(x: Tensor, item: Blurred) -> Tensor:
    inner = replace(item, margin=12)
    return -10.0 * torch.log10(mean_square_error(x.clamp(0.0, 1.0), inner))


def _manifest(trainer: NetworkTrainer, budget: str, metrics: dict[str, float]) -> NetworkManifest:
    recipe = trainer.recipe
    photographs = recipe.network.form != "paper"
    return NetworkManifest(
        format_version=1,
        name=recipe.name,
        version=recipe.version,
        title=recipe.title,
        architecture=recipe.network,
        images={str(use): [scene.name for scene in scenes(use)] for use in (Use.TRAIN, Use.VALIDATION)}
        if photographs
        else {"train": ["smoothed noise"]},
        recipe=_plain(recipe),
        started_from=trainer.start.manifest.files[MODEL].sha256 if trainer.start else None,
        budget=budget,
        seed=trainer.seed,
        git_commit=git_commit(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), "torch": torch.__version__, "numpy": package_version("numpy")},
        data={
            "batches": trainer.batches_done,
            "crops": trainer.batches_done * recipe.batch_size,
            "seconds": round(trainer.spent_s),
            "calibration": (SMOKE_CROPS if budget == "smoke" else CALIBRATION_CROPS) if photographs else 0,
        },
        metrics=metrics,
        metrics_of_seeds={str(trainer.seed): metrics},
    )


def _plain(recipe: NetworkRecipe) -> dict[str, object]:
    """The recipe as JSON: its source by name."""
    shown = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    return {**shown, "network": asdict(recipe.network), "source": getattr(recipe.source, "__name__", "")}
