"""The engine under f and g: PyTorch, or ONNX Runtime on graphs of the same maps that lie beside a checkpoint.

A graph has a free batch dimension: ``f`` x -> y, ``g`` y -> x, ``adjoint`` x, v -> J_f(x)^T v, ``step-PRESET`` a whole
step of D-IPG (`solvers.step`) under a preset in the problem's own set C, ``inspection`` the composition error and its
Jacobians (`models.composition`). A checkpoint may have any of them; PyTorch does the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from models.deceptron import Deceptron
from physics.problem import Derivatives

STEP = "step-"
INSPECTION = "inspection"
PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}),
}
TYPES = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(int64)": (torch.int64, np.int64),
    "tensor(bool)": (torch.bool, np.bool_),
}
"""What a graph may give: by PyTorch's name and by NumPy's."""


Tensors = Callable[..., Sequence[Tensor]]


class EngineUnavailable(Exception):
    """ONNX Runtime is not installed, or does not run on the device that was asked for."""


class Maps(Protocol):
    """f, g and, where they are known, f's derivatives: what the solvers ask of an engine."""

    engine: ClassVar[str]

    def f(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, m)."""
        ...

    def g(self, y: Tensor) -> Tensor:
        """(B, m) -> (B, n)."""
        ...

    @property
    def derivatives(self) -> Derivatives | None:
        """Of f, without autograd."""
        ...

    @property
    def steps(self) -> Mapping[str, Tensors]:
        """By preset, a whole step of D-IPG in the problem's set, where the engine has it as one."""
        ...

    @property
    def inspection(self) -> Tensors | None:
        """`models.composition.Inspection` of f and g, where the engine has it as one."""
        ...


def require_provider(device: str) -> ModuleType:
    """ONNX Runtime, if it is installed and was built for the device; raises EngineUnavailable."""
    if find_spec("onnxruntime") is None:
        raise EngineUnavailable("engine onnxruntime: the package onnxruntime is not installed (extra cpu or gpu)")
    runtime = import_module("onnxruntime")
    if PROVIDERS[device][0] not in runtime.get_available_providers():
        raise EngineUnavailable(f"engine onnxruntime: this build has no {PROVIDERS[device][0]} (extra gpu)")
    return runtime


@contextmanager
def one_thread() -> Iterator[None]:
    """Both engines on one thread: CPU time is then the work of one core, without threads that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def open_session(data: bytes, device: str) -> Any:
    """An ONNX Runtime session of a graph, with as many threads as PyTorch has.

    Raises:
        EngineUnavailable: no ONNX Runtime, or it falls back to another device.
    """
    onnxruntime = require_provider(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    provider = PROVIDERS[device]
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[provider])
    except Exception as error:  # its own exceptions have no common base
        raise EngineUnavailable(f"engine onnxruntime: the graph cannot be used: {error}") from error
    if session.get_providers()[0] != provider[0]:  # it falls back to the CPU without a word
        raise EngineUnavailable(f"engine onnxruntime: no {provider[0]} on this machine")
    return session


class Graph:
    """One ONNX graph on one device: float32 tensors in, its outputs out; raises as ``open_session`` does."""

    def __init__(self, data: bytes, device: str) -> None:
        self._session = open_session(data, device)
        self._device = device
        self._names = [each.name for each in self._session.get_inputs()]
        self._outputs = [(each.name, each.shape, *TYPES[each.type]) for each in self._session.get_outputs()]
        self._output_names = [name for name, *_ in self._outputs]

    def all(self, *tensors: Tensor) -> list[Tensor]:
        """The outputs for inputs (B, ...), or numbers () on the host, in the graph's order."""
        if self._device != "cpu":
            return self._bound(tensors)
        feed = {name: _array(tensor) for name, tensor in zip(self._names, tensors, strict=True)}
        return [torch.from_numpy(found) for found in self._session.run(self._output_names, feed)]

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The first output."""
        return self.all(*tensors)[0]

    def _bound(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Device memory in, device memory out: nothing is copied to the host."""
        binding = self._session.io_binding()
        kept = [tensor.detach().contiguous() for tensor in tensors]
        batch, device = len(kept[0]), kept[0].device
        shapes = [[batch if isinstance(size, str) else size for size in shape] for _, shape, *_ in self._outputs]
        outputs = [torch.empty(s, dtype=o[2], device=device) for s, o in zip(shapes, self._outputs, strict=True)]
        for name, tensor in zip(self._names, kept, strict=True):
            if tensor.is_cuda:
                binding.bind_input(name, "cuda", device.index, np.float32, tuple(tensor.shape), tensor.data_ptr())
            else:
                binding.bind_cpu_input(name, tensor.numpy())
        for (name, _, _, of), out in zip(self._outputs, outputs, strict=True):
            binding.bind_output(name, "cuda", device.index, of, tuple(out.shape), out.data_ptr())
        torch.cuda.current_stream(device).synchronize()  # the session has a stream of its own
        self._session.run_with_iobinding(binding)
        return outputs


def _array(tensor: Tensor) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


class OnnxMaps:
    """A Deceptron's maps through its graphs, and through itself where it has none."""

    engine: ClassVar[str] = "onnxruntime"

    def __init__(self, graphs: Mapping[str, bytes], deceptron: Deceptron, device: str) -> None:
        made = {name: Graph(data, device) for name, data in graphs.items()}
        self.f = made.get("f", deceptron.f)
        self.g = made.get("g", deceptron.g)
        self.derivatives: Derivatives | None = deceptron.derivatives
        if "adjoint" in made:
            self.derivatives = _GraphDerivatives(made["adjoint"], deceptron)
        self.inspection: Tensors | None = made[INSPECTION].all if INSPECTION in made else None
        self.steps = {name.removeprefix(STEP): graph.all for name, graph in made.items() if name.startswith(STEP)}


class _GraphDerivatives:
    """The adjoint by its graph; the Jacobian, which only LM asks for, by PyTorch."""

    def __init__(self, adjoint: Graph, deceptron: Deceptron) -> None:
        self._adjoint, self._deceptron = adjoint, deceptron

    def adjoint(self, x: Tensor, v: Tensor) -> Tensor:
        """J_f(x)^T v, (B, n)."""
        return self._adjoint(x, v)

    def jacobian(self, x: Tensor) -> Tensor:
        """J_f(x), (B, m, n)."""
        return self._deceptron.jacobian_f(x)
