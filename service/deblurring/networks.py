"""The image networks of a checkpoint directory, loaded when first asked for. Safe to share between threads."""

import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.checkpoint import CheckpointError
from models.deceptronnet import ImageNetwork
from models.registry import LoadedNetwork, Registry, UnknownCheckpoint
from service.deblurring.spec import METHODS
from service.engines import use_graph
from service.errors import FieldError, ModelUnusable, ServiceError, UnknownModel
from service.histograms import histograms
from trust.images import IMAGE_SCORES, ImageCalibration
from trust.verdict import OUT_OF_RANGE_BELOW, SUSPECT_BELOW


@dataclass(frozen=True)
class Network:
    """A network on its device, with what its checkpoint knows of photographs in range (None: it is not calibrated)."""

    loaded: LoadedNetwork
    calibration: ImageCalibration | None
    engine: str = "torch"

    @property
    def model(self) -> ImageNetwork:
        return self.loaded.network


class Networks:
    """Networks on one device; raises UnknownModel and ModelUnusable as Inference does.

    Args:
        engine: as DECEPTRON_ENGINE; who only describes networks asks for torch, which opens no graph.
    """

    def __init__(self, checkpoints: Path, device: str, engine: str = "auto") -> None:
        self.registry = Registry(checkpoints)
        self.device = device
        self._engine = engine
        self._loaded: dict[tuple[str, int], Network] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The networks whose newest version can be used."""
        return [name for name in self.registry.networks() if self._usable(name)]

    def card(self, name: str, version: int | None = None) -> dict[str, Any]:
        """The model card of GET /models/{name}."""
        return network_card(self.load(name, self.version(name, version)), self.registry.versions(name))

    def histograms(self, name: str, version: int | None = None) -> dict[str, Any]:
        """How each score is spread over a network's calibration set."""
        found = self.load(name, self.version(name, version))
        if found.calibration is None:
            raise UnknownModel(f"model {name!r} is not calibrated")
        return histograms(name, found.loaded.manifest.version, IMAGE_SCORES, found.calibration.scores)

    def version(self, name: str, version: int | None = None) -> int:
        """The version meant, the newest unless given."""
        try:
            return self.registry.network_manifest(name, version).version
        except UnknownCheckpoint as error:
            raise UnknownModel(str(error), [FieldError("model", str(error))]) from error
        except CheckpointError as error:
            raise ModelUnusable(str(error)) from error

    def load(self, name: str, version: int) -> Network:
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

    def _read(self, name: str, version: int) -> Network:
        try:
            found = self.registry.load_network(name, version)
            calibration = ImageCalibration.from_tensors(found.calibration) if found.calibration else None
        except UnknownCheckpoint as error:
            raise UnknownModel(str(error)) from error
        except CheckpointError as error:
            raise ModelUnusable(str(error)) from error
        except KeyError as error:
            remedy = f"run `deceptron recalibrate {name}`"
            raise ModelUnusable(f"model {name!r}: its calibration lacks {error}; {remedy}") from error
        found.network.to(self.device)
        return Network(found, calibration, use_graph(found, self._engine, self.device))


def network_card(network: Network, versions: list[int]) -> dict[str, Any]:
    """The model card of an image network."""
    manifest, calibration = network.loaded.manifest, network.calibration
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
        "calibration": {
            "items": len(calibration.scores) if calibration else 0,
            "quantiles": calibration.quantiles() if calibration else {},
            "suspect_below": SUSPECT_BELOW,
            "out_of_range_below": OUT_OF_RANGE_BELOW,
        },
    }
