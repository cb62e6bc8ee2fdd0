"""UM-Bridge 1.0: f and g of every model as differentiable functions, for tools of uncertainty quantification.

``NAME-forward`` is x (n,) -> f(x) (m,), ``NAME-inverse`` is y (m,) -> g(y) (n,); one input vector, one output vector.

    Evaluate  f(x)        Gradient  J^T sens        ApplyJacobian  J vec

in float64, whatever the model was trained in, so that derivatives agree with finite differences.
Source: https://um-bridge-benchmarks.readthedocs.io (protocol 1.0).
"""

import copy
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vjp

from models.deceptron import Deceptron
from service.arrays import decode_list, require_finite
from service.errors import InvalidInput, ServiceError, UnknownModel
from service.inference import Inference

PROTOCOL_VERSION = 1.0
SUPPORT = {"Evaluate": True, "Gradient": True, "ApplyJacobian": True, "ApplyHessian": False}
SIDES = ("forward", "inverse")

Map = Callable[[Tensor], Tensor]
Request = dict[str, Any]


def explain(error: ServiceError) -> dict[str, Any]:
    """What the protocol's own clients read of an error."""
    kind = "InvalidInput" if error.status < 500 else "InvalidEvaluation"
    return {"error": {"type": kind, "message": error.detail}}


class Bridge:
    """The functions of one Inference; what is needed of a model is copied to float64 when first asked for."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._doubles: dict[tuple[str, int], Deceptron] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Every function there is."""
        return [f"{manifest.name}-{side}" for manifest in self._inference.manifests() for side in SIDES]

    def support(self, request: Request) -> dict[str, bool]:
        """What can be asked of the function."""
        self._function(request)
        return SUPPORT

    def input_sizes(self, request: Request) -> list[int]:
        """The length of the one input."""
        _, size, _ = self._function(request)
        return [size]

    def output_sizes(self, request: Request) -> list[int]:
        """The length of the one output."""
        _, _, size = self._function(request)
        return [size]

    def evaluate(self, request: Request) -> list[list[float]]:
        """The function at the input."""
        function, size, _ = self._function(request)
        return [_finite(function(_input(request, size)))]

    def gradient(self, request: Request) -> list[float]:
        """J^T sens: the gradient of sens . output with respect to the input."""
        function, size, out = self._function(request)
        _only_one(request)
        pull = vjp(function, _input(request, size))[1]
        return _finite(pull(_vector(request.get("sens"), out, "sens"))[0])

    def apply_jacobian(self, request: Request) -> list[float]:
        """J vec: how the output moves when the input moves along vec."""
        function, size, _ = self._function(request)
        _only_one(request)
        at, along = _input(request, size), _vector(request.get("vec"), size, "vec")
        return _finite(jvp(function, (at,), (along,))[1])

    def _function(self, request: Request) -> tuple[Map, int, int]:
        """The function a request names, and the lengths of its input and output."""
        name = request.get("name")
        if not isinstance(name, str):
            raise InvalidInput.at("name", "is required: a name of GET /Info")
        model, _, side = name[:200].rpartition("-")
        if side not in SIDES:
            raise UnknownModel(f"no function named {name[:200]!r}; GET /Info lists them")
        version = _version(request.get("config"))
        loaded = self._inference.loaded(model, version)
        deceptron = self._double(loaded.manifest.name, loaded.manifest.version, loaded.deceptron)
        n, m = loaded.problem.n, loaded.problem.m
        return (_single(deceptron.f), n, m) if side == "forward" else (_single(deceptron.g), m, n)

    def _double(self, name: str, version: int, deceptron: Deceptron) -> Deceptron:
        with self._lock:
            if (name, version) not in self._doubles:
                self._doubles[name, version] = copy.deepcopy(deceptron).cpu().double().requires_grad_(False)
            return self._doubles[name, version]


def _single(batched: Map) -> Map:
    """The same map of one vector (n,) -> (m,)."""
    return lambda x: batched(x[None])[0]


def _version(config: object) -> int | None:
    """``{"version": 2}`` in the config chooses a version of the model; the newest without it."""
    if config is None:
        return None
    version = config.get("version") if isinstance(config, dict) else None
    if not isinstance(config, dict) or set(config) - {"version"} or not (version is None or type(version) is int):
        raise InvalidInput.at("config", 'must be {} or {"version": <whole number>}')
    return version


def _input(request: Request, size: int) -> Tensor:
    given = request.get("input")
    if not isinstance(given, list) or len(given) != 1:
        raise InvalidInput.at("input", f"must be a list of one list of {size} numbers")
    return _vector(given[0], size, "input[0]")


def _vector(value: object, size: int, field: str) -> Tensor:
    array = decode_list(value, field)
    if array.shape != (size,):
        raise InvalidInput.at(field, f"must be a list of {size} numbers")
    require_finite(array, field)
    return torch.from_numpy(array)


def _only_one(request: Request) -> None:
    for field in ("outWrt", "inWrt"):
        if request.get(field, 0) != 0:
            raise InvalidInput.at(field, "must be 0: there is one input and one output")


def _finite(values: Tensor) -> list[float]:
    if not values.isfinite().all():
        raise InvalidInput.at("input", "is so far outside the model's range that the result is not finite")
    return [float(value) for value in values]
