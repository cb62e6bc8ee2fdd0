"""Which engine runs a model: as asked, or the one that measured quicker when the checkpoint was made."""

from collections.abc import Iterable

from models.deceptronnet import DeceptronNet
from models.engine import EngineUnavailable, Maps, OnnxMaps, require_provider
from models.network_engine import UNetGraph
from models.registry import LoadedModel, LoadedNetwork
from service.errors import DeviceUnavailable

ENGINES = ("auto", "torch", "onnxruntime")


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
        _fell_back(loaded.manifest.name, error)
        return loaded.deceptron


def use_graph(loaded: LoadedNetwork, asked: str, device: str) -> str:
    """Lets ONNX Runtime run a network's U-Net where that was asked for or measured quicker; the engine it then has.

    On a GPU it stays with PyTorch. Raises as ``maps_of`` does.
    """
    preferred = loaded.manifest.engine.default if loaded.manifest.engine else "torch"
    graph, wanted = loaded.graphs.get("unet"), preferred if asked == "auto" else asked
    if graph is None or wanted == "torch" or device != "cpu" or not isinstance(loaded.network, DeceptronNet):
        return "torch"
    try:
        loaded.network.engine = UNetGraph(graph, loaded.network.unet.reach)
    except EngineUnavailable as error:
        if asked == "onnxruntime":
            raise DeviceUnavailable(str(error)) from error
        _fell_back(loaded.manifest.name, error)
        return "torch"
    return "onnxruntime"


def _fell_back(model: str, error: EngineUnavailable) -> None:
    import structlog  # late: it takes a tenth of a second, of which `deceptron deblur` has thirty

    structlog.get_logger(__name__).warning("engine_fell_back", model=model, engine="torch", reason=str(error))


def spoken(engines: Iterable[str]) -> str:
    """The engines in use, as one word for a worker's description."""
    return "+".join(sorted(set(engines))) or "torch"
