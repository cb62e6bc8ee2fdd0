"""A small checkpoint of a real problem, and the ways to spoil one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import Manifest, digest, save
from models.deceptron import Deceptron, DeceptronConfig

CONFIG = DeceptronConfig(5, 64, architecture="residual", hidden=(3,), activation="tanh")


def manifest_of(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "format_version": 1,
        "name": "small",
        "version": 1,
        "problem": "oscillator",
        "preset": "product",
        "architecture": CONFIG,
        "refinements": 2,
        "recipe": {"name": "small", "stages": [{"batches": 3}]},
        "budget": "smoke",
        "seed": 7,
        "git_commit": "abc",
        "created_at": "2026-01-01T00:00:00+00:00",
        "versions": {"torch": "2"},
        "data": {"train": 10},
        "metrics": {"x_rmse": 0.1 + 0.2, "tiny": 1e-300},
    }
    return Manifest(**{**fields, **changes})


def model_of(config: DeceptronConfig = CONFIG, seed: int = 0) -> Deceptron:
    torch.manual_seed(seed)
    model = Deceptron(config)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.copy_(torch.randn_like(tensor))
    return model


def extras() -> dict[str, dict[str, Tensor]]:
    return {
        "calibration": {"scores": torch.randn(4, 5, dtype=torch.float64)},
        "examples": {"kind": torch.tensor([0, 1]), "empty": torch.zeros(0, 3)},
    }


def store(root: Path, seed: int = 0, **changes: Any) -> Path:
    manifest = manifest_of(**changes)
    return save(root, manifest, model_of(manifest.architecture, seed), extras())


def edit(directory: Path, fields: Mapping[str, object]) -> None:
    """Changes fields of the manifest as somebody with an editor would; ``...`` removes one."""
    path = directory / "manifest.json"
    document = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not ...}))


def forge(directory: Path, name: str, data: bytes) -> None:
    """Replaces a file and its digest in the manifest."""
    (directory / name).write_bytes(data)
    files = json.loads((directory / "manifest.json").read_text())["files"]
    edit(directory, {"files": {**files, name: digest(data).model_dump()}})
