"""The image networks of a checkpoint directory, loaded when first asked for. Safe to share between threads."""

import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.checkpoint import CheckpointError
from models.registry import LoadedNetwork, Registry, UnknownCheckpoint
from service.deblurring.spec import METHODS
from service.errors import FieldError, ModelUnusable, ServiceError, UnknownModel


class Networks:
    """Networks on one device; raises UnknownModel and ModelUnusable as Inference does."""

    def __init__(self, checkpoints: Path, device: str) -> None:
        self.registry = Registry(checkpoints)
        self.device = device
        self._loaded: dict[tuple[str, int], LoadedNetwork] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The networks whose newest version can be used."""
        return [name for name in self.registry.networks() if self._usable(name)]

    def card(self, name: str, version: int | None = None) -> dict[str, Any]:
        """The model card of GET /models/{name}."""
        return network_card(self.load(name, self.version(name, version)), self.registry.versions(name))

    def version(self, name: str, version: int | None = None) -> int:
        """The version meant, the newest unless given."""
        try:
            return self.registry.network_manifest(name, version).version
        except UnknownCheckpoint as error:
            raise UnknownModel(str(error), [FieldError("model", str(error))]) from error
        except CheckpointError as error:
            raise ModelUnusable(str(error)) from error

    def load(self, name: str, version: int) -> LoadedNetwork:
        """The network, verified."""
        with self._lock:
            if (name, version) not in self._loaded:
                self._loaded[name, version] = self._read(name, version)
            return self._loaded[name, version]

    def _usable(self, name: str) -> bool:
        try:
            self.load(name, self.version(name))
        except ServiceError:
            return False
        return True

    def _read(self, name: str, version: int) -> LoadedNetwork:
        try:
            found = self.registry.load_network(name, version)
        except UnknownCheckpoint as error:
            raise UnknownModel(str(error)) from error
        except CheckpointError as error:
            raise ModelUnusable(str(error)) from error
        found.network.to(self.device)
        return found


def network_card(loaded: LoadedNetwork, versions: list[int]) -> dict[str, Any]:
    """The model card of an image network."""
    manifest = loaded.manifest
    return {
        "name": manifest.name,
        "kind": manifest.kind,
        "version": manifest.version,
        "versions": versions,
        "title": manifest.title,
        "methods": list(METHODS),
        "architecture": asdict(manifest.architecture),
        "images": manifest.images,
        "training": manifest.model_dump(
            include={"recipe", "budget", "seed", "data", "git_commit", "created_at", "versions"}
        ),
        "metrics": manifest.metrics,
        "metrics_of_seeds": manifest.metrics_of_seeds,
    }
