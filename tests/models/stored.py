"""Small checkpoints, of a real problem and of an image network, and the ways to spoil one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import Manifest, NetworkManifest, digest, save
from models.deceptron import Deceptron, DeceptronConfig
from models.deceptronnet import ImageNetwork, NetworkConfig, network_of

CONFIG = DeceptronConfig(5, 64, architecture="residual", hidden=(3,), activation="tanh")


NETWORK = NetworkConfig("shipped", steps=2, widths=(4, 6), blocks=(0, 1), carried=2)
RECORD: dict[str, Any] = {
    "format_version": 1,
    "name": "small",
    "version": 1,
    "recipe": {"name": "small", "stages": [{"batches": 3}]},
    "budget": "smoke",
    "seed": 7,
    "git_commit": "abc",
    "created_at": "2026-01-01T00:00:00+00:00",
    "versions": {"torch": "2"},
    "data": {"train": 10},
    "metrics": {"x_rmse": 0.1 + 0.2, "tiny": 1e-300},
}


def manifest_of(**changes: Any) -> Manifest:
    own = {"problem": "oscillator", "preset": "product", "architecture": CONFIG, "refinements": 2}
    return Manifest(**{**RECORD, **own, **changes})


def network_manifest_of(**changes: Any) -> NetworkManifest:
    own = {"title": "Sharper squares", "architecture": NETWORK, "images": {"train": ["squares"]}}
    return NetworkManifest(**{**RECORD, **own, **changes})


def network() -> ImageNetwork:
    torch.manual_seed(3)
    made = network_of(NETWORK)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def store_network(root: Path, **changes: Any) -> Path:
    return save(root, network_manifest_of(**changes), network(), {"calibration": {"scores": torch.rand(4, 2)}})


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
