"""The paper's 2D table on its synthetic task: image RMSE and iterations of v0, LM and x-GD."""

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.report import Report, significant
from benchmarks.setup import Setup
from models.registry import LoadedNetwork
from physics.blur import Blur
from solvers.gauss_newton import ConjugateGradient, LevenbergMarquardt
from solvers.gradient import FixedStepGradient
from solvers.image_plans import run_iterative
from solvers.images import start_image
from solvers.method import Method
from solvers.plans import rules_for
from training.data import Split
from training.images import PAPER_SMOOTHING, PaperImages
from training.network_trainer import mean_square_error

NAME = "deblur-paper"
IMAGES, SOLVED = 400, 40  # the iterative methods go image by image
TOLERANCE, CAP = 0.3, 80  # of the first residual; iterations
RIVALS: dict[str, tuple[Method, str]] = {
    "LM": (LevenbergMarquardt(linear_solver=ConjugateGradient()), ".0883 (69)"),
    "x-GD": (FixedStepGradient(), ".1271 (80)"),
}


def paper_table(setup: Setup, report: Report) -> None:
    """RMSE over all pixels of the test images; the rivals know the true PSF, the network the nominal one."""
    images, solved = (4, 1) if setup.quick else (IMAGES, SOLVED)
    source = PaperImages(Split.TEST, images)
    rows = []
    if NAME in setup.registry.networks():
        rows.append(["DeceptronNet v0", *_network_row(setup.registry.load_network(NAME), source), ".0640 (6)"])
    for name, (method, published) in RIVALS.items():
        errors, iterations = _solved(source, method, solved)
        typical = sorted(iterations)[len(iterations) // 2]
        rows.append([name, significant(errors.mean().sqrt().item()), str(typical), str(solved), published])
    start = torch.stack([start_image(source.y[i : i + 1], source.camera(slice(i, i + 1)))[0] for i in range(images)])
    blind = [(start - source.x).square().mean(), (source.x.mean() - source.x).square().mean()]
    for name, error in zip(("up(y)", "the mean image value"), blind, strict=True):
        rows.append([name, significant(error.sqrt().item()), "0", str(images), ""])
    report.text(
        f"The paper's 2D task: smoothed noise (Gaussian of {PAPER_SMOOTHING:g} pixels, stretched to [0, 1]; the paper "
        "does not give its smoothing), 64 x 64 seen at half resolution through a Gaussian of sigma .7 to 2 and a "
        "sigmoid sensor, noise .03 sqrt(y). The network is told sigma 1.3, the others the truth. All start at up(y); "
        f"the others stop at .3 of the first residual or after {CAP} iterations."
    )
    report.table("Image RMSE on the paper's task", ["method", "RMSE", "iterations", "images", "published"], rows)


def _network_row(loaded: LoadedNetwork, source: PaperImages) -> list[str]:
    errors = []
    with torch.no_grad():
        for rows in torch.arange(source.count).split(40):
            some = source.rows(rows)
            errors.append(mean_square_error(loaded.network(some.y, some.blur, some.noise_std)[-1], some))
    rmse = torch.cat(errors).mean().sqrt().item()
    return [significant(rmse), str(loaded.manifest.architecture.steps), str(source.count)]


def _solved(source: PaperImages, method: Method, count: int) -> tuple[Tensor, list[int]]:
    """Mean square errors (count,) and iterations under the paper's rule."""
    errors, iterations = [], []
    for i in range(count):
        y, x = source.y[i : i + 1], source.x[i : i + 1]
        camera = Blur(source.camera(slice(i, i + 1)).kernel[0], "reflect", 2, "sigmoid")
        first = (camera.forward(start_image(y, camera)) - y).square().mean().sqrt().item()
        rules = replace(rules_for("paper", y.numel()), tolerance=TOLERANCE * first, max_iterations=CAP)
        found = run_iterative(y, camera, 1.0, method, rules)
        errors.append((found.x - x).square().mean())
        iterations += found.iterations
    return torch.stack(errors), iterations
