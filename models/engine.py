"""The engine under f and g: PyTorch, or ONNX Runtime on graphs of the same maps that lie beside a checkpoint.

A graph takes and gives float32 with a free batch dimension: ``f`` x -> y, ``g`` y -> x, ``adjoint`` x, v -> J_f(x)^T v.
A checkpoint may have any of them; what it has no graph of, PyTorch does.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from models.deceptron import Deceptron
from physics.problem import Derivatives

GRAPHS = ("g", "adjoint", "f")  # in the order of their worth
PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}),
}


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


def require_provider(device: str) -> ModuleType:
    """ONNX Runtime, if it is installed and was built for the device; raises EngineUnavailable."""
    if find_spec("onnxruntime") is None:
        raise EngineUnavailable("engine onnxruntime: the package onnxruntime is not installed (extra cpu or gpu)")
    runtime = import_module("onnxruntime")
    if PROVIDERS[device][0] not in runtime.get_available_providers():
        raise EngineUnavailable(f"engine onnxruntime: this build has no {PROVIDERS[device][0]} (extra gpu)")
    return runtime


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
    """One ONNX graph on one device: float32 tensors in, one float32 tensor out; raises as ``open_session`` does."""

    def __init__(self, data: bytes, device: str, width: int) -> None:
        self._session = open_session(data, device)
        self._device, self._width = device, width
        self._names = [each.name for each in self._session.get_inputs()]
        self._output = self._session.get_outputs()[0].name

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The output (B, width) for inputs in the graph's order."""
        if self._device != "cpu":
            return self._bound(tensors)
        feed = {name: tensor.detach().numpy() for name, tensor in zip(self._names, tensors, strict=True)}
        return torch.from_numpy(self._session.run(None, feed)[0])

    def _bound(self, tensors: Sequence[Tensor]) -> Tensor:
        """Device memory in, device memory out: nothing is copied to the host."""
        binding = self._session.io_binding()
        kept = [tensor.detach().contiguous() for tensor in tensors]
        out = torch.empty(len(kept[0]), self._width, dtype=torch.float32, device=kept[0].device)
        for name, tensor in zip(self._names, kept, strict=True):
            binding.bind_input(name, "cuda", out.device.index, np.float32, tuple(tensor.shape), tensor.data_ptr())
        binding.bind_output(self._output, "cuda", out.device.index, np.float32, tuple(out.shape), out.data_ptr())
        torch.cuda.current_stream(out.device).synchronize()  # the session has a stream of its own
        self._session.run_with_iobinding(binding)
        return out


class OnnxMaps:
    """A Deceptron's maps through its graphs, and through itself where it has none."""

    engine: ClassVar[str] = "onnxruntime"

    def __init__(self, graphs: Mapping[str, bytes], deceptron: Deceptron, device: str) -> None:
        n, m = deceptron.config.n, deceptron.config.m
        widths = {"f": m, "g": n, "adjoint": n}
        made = {name: Graph(data, device, widths[name]) for name, data in graphs.items()}
        self.f = made.get("f", deceptron.f)
        self.g = made.get("g", deceptron.g)
        self.derivatives: Derivatives | None = deceptron.derivatives
        if "adjoint" in made:
            self.derivatives = _GraphDerivatives(made["adjoint"], deceptron)


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
