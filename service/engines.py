"""Which engine runs a model: as asked, or the one that measured quicker when the checkpoint was made."""

from collections.abc import Iterable

import structlog

from models.engine import EngineUnavailable, Maps, OnnxMaps, require_provider
from models.registry import LoadedModel
from service.errors import DeviceUnavailable

ENGINES = ("auto", "torch", "onnxruntime")

log = structlog.get_logger(__name__)


def require_engine(asked: str, device: str) -> str:
    """The engine that was asked for, if it can run here; raises DeviceUnavailable."""
    if asked not in ENGINES:
        raise DeviceUnavailable(f"engine {asked!r} is none of {', '.join(ENGINES)}")
    if asked == "onnxruntime":
        try:
            require_provider(device)
        except EngineUnavailable as error:
            raise DeviceUnavailable(str(error)) from error
    return asked


def maps_of(loaded: LoadedModel, asked: str, device: str) -> Maps:
    """The maps that a model is run with; a model without graphs runs on torch whatever was asked.

    Raises:
        DeviceUnavailable: onnxruntime was asked for by name, and cannot run on the device.
    """
    preferred = loaded.manifest.engine.default if loaded.manifest.engine else "torch"
    if not loaded.graphs or asked == "torch" or (asked == "auto" and preferred == "torch"):
        return loaded.deceptron
    try:
        return OnnxMaps(loaded.graphs, loaded.deceptron, device)
    except EngineUnavailable as error:
        if asked == "onnxruntime":
            raise DeviceUnavailable(str(error)) from error
        log.warning("engine_fell_back", model=loaded.manifest.name, engine="torch", reason=str(error))
        return loaded.deceptron


def spoken(engines: Iterable[str]) -> str:
    """The engines in use, as one word for a worker's description."""
    return "+".join(sorted(set(engines))) or "torch"
