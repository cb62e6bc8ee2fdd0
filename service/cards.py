"""What GET /models/{name} says of a model, and the examples people try it with."""

from dataclasses import asdict
from typing import Any

from models.checkpoint import Manifest
from models.registry import LoadedModel
from physics.problem import Quantity
from service.histograms import histograms
from solvers.plans import METHODS, PRESETS, noise_level
from trust.calibration import Calibration
from trust.scores import SCORES
from trust.verdict import OUT_OF_RANGE_BELOW, SUSPECT_BELOW

EXAMPLE_KINDS = ("in range", "five times the noise", "stuck sensors")


def model_card(loaded: LoadedModel, calibration: Calibration, versions: list[int]) -> dict[str, Any]:
    """Name, problem, shapes, units, training, metrics, calibration and limits of a checkpoint."""
    manifest, problem = loaded.manifest, loaded.problem
    return {
        "name": manifest.name,
        "kind": manifest.kind,
        "version": manifest.version,
        "versions": versions,
        "title": problem.title,
        "problem": problem.name,
        "source": problem.source,
        "preset": manifest.preset,
        "refinements": manifest.refinements,
        "presets": list(PRESETS),
        "methods": list(METHODS),
        "unknown": _quantity(problem.unknown),
        "observation": {**_quantity(problem.observation), "noise_std": problem.noise_std},
        "identifiable": list(problem.identifiable.names) if problem.identifiable else [],
        "identifiable_units": list(problem.identifiable.units) if problem.identifiable else [],
        "noise_level_rms": noise_level(problem.m) * problem.noise_std,
        "architecture": asdict(manifest.architecture),
        "training": {
            "recipe": manifest.recipe,
            "budget": manifest.budget,
            "seed": manifest.seed,
            "data": manifest.data,
            "git_commit": manifest.git_commit,
            "created_at": manifest.created_at,
            "versions": manifest.versions,
        },
        "metrics": manifest.metrics,
        "metrics_of_seeds": manifest.metrics_of_seeds,
        "limits": manifest.limits,
        "calibration": {
            "items": len(calibration.scores),
            "quantiles": calibration.quantiles(),
            "suspect_below": SUSPECT_BELOW,
            "out_of_range_below": OUT_OF_RANGE_BELOW,
        },
    }


def calibration_histograms(manifest: Manifest, calibration: Calibration) -> dict[str, Any]:
    """How each score is spread over the calibration set; the last bin also holds the half per cent beyond it."""
    return histograms(manifest.name, manifest.version, SCORES, calibration.scores)


def examples_of(loaded: LoadedModel) -> dict[str, Any]:
    """Stored held-out observations, their truths, and what was done to each."""
    stored = loaded.examples
    if not stored:
        return {"observations": [], "unknowns": [], "labels": []}
    kinds = stored["kind"].tolist()
    return {
        "observations": stored["observations"].tolist(),
        "unknowns": stored["unknowns"].tolist(),
        "labels": [_label(kinds, i) for i in range(len(kinds))],
    }


def _label(kinds: list[int], i: int) -> str:
    """The kind, numbered where there are several of it."""
    name = EXAMPLE_KINDS[kinds[i]]
    return f"{name} {kinds[: i + 1].count(kinds[i])}" if kinds.count(kinds[i]) > 1 else name


def _quantity(quantity: Quantity) -> dict[str, Any]:
    return {"shape": [quantity.size], **asdict(quantity)}
