"""What the client gives back: frozen values with NumPy arrays, and its errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

FINISHED = frozenset({"succeeded", "partial", "failed", "canceled", "expired"})


class ClientError(Exception):
    """Base of everything the client raises."""


class Unreachable(ClientError):
    """No answer, after all retries."""


class WaitTimeout(ClientError):
    """The job is still running; it can be waited for again."""


class JobFailed(ClientError):
    """The job ended without a result."""


class Problem(ClientError):
    """The service's problem document."""

    def __init__(self, document: Mapping[str, Any], status: int) -> None:
        self.status = status
        self.title = str(document.get("title", "Error"))
        self.detail = str(document.get("detail", ""))
        self.errors = [(str(e.get("field")), str(e.get("detail"))) for e in document.get("errors", [])]
        super().__init__(f"{status} {self.title}: {self.detail}")


@dataclass(frozen=True)
class Retries:
    """How often and how patiently a call is repeated after 429, 503 or a broken connection."""

    attempts: int = 6
    first_delay_s: float = 0.2
    longest_delay_s: float = 10.0


@dataclass(frozen=True)
class Job:
    """A job as last seen; `result` is the document of its result where that came along."""

    id: str
    kind: str
    model: str
    status: str
    done: int
    total: int
    created_at: str | None
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    error: str | None
    result: Mapping[str, Any] | None

    @property
    def finished(self) -> bool:
        return self.status in FINISHED


@dataclass(frozen=True)
class Diagnostics:
    """Whether to believe an answer, and how well the data resolve each unknown; None where there is no such score."""

    verdict: str | None
    reasons: tuple[str, ...]
    rjcp: float | None
    rjcp_p_value: float | None
    rjcp_observed: float | None
    jacobian_jump: float | None
    step_disagreement: float | None
    residual_to_noise: float | None
    physics_residual_to_noise: float | None
    residual_trend: float | None
    mahalanobis: float | None
    baseline: float | None
    stillness: float | None
    unknown_oddness: float | None
    p_value: float | None
    active_bounds: int | None
    resolution: np.ndarray | None
    std: np.ndarray | None


@dataclass(frozen=True)
class Item:
    """The answer to one observation: x (n,), or None and an `error`."""

    x: np.ndarray | None
    status: str
    solved_by: str | None
    iterations: int | None
    residual_rms: float | None
    diagnostics: Diagnostics | None
    error: str | None
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Timing:
    queued_s: float | None
    solve_s: float | None
    diagnose_s: float | None


@dataclass(frozen=True)
class MethodAnswer:
    """One method's answers, one item per observation, in order."""

    method: str
    items: tuple[Item, ...]

    @property
    def x(self) -> np.ndarray:
        """The reconstructions stacked, (B, n); rows of NaN where there is none."""
        width = next((len(item.x) for item in self.items if item.x is not None), 0)
        missing = np.full(width, np.nan)
        return np.array([missing if item.x is None else item.x for item in self.items]).reshape(len(self.items), width)

    @property
    def verdicts(self) -> list[str | None]:
        return [item.diagnostics.verdict if item.diagnostics else None for item in self.items]


@dataclass(frozen=True)
class Result(MethodAnswer):
    """The answer to an inversion."""

    model: str
    version: int
    device: str
    engine: str
    timing: Timing


@dataclass(frozen=True)
class Comparison:
    """Every method's answers under the same rules."""

    model: str
    version: int
    device: str
    engine: str
    timing: Timing
    rules: Mapping[str, Any]
    results: tuple[MethodAnswer, ...]

    def __getitem__(self, method: str) -> MethodAnswer:
        return next(answer for answer in self.results if answer.method == method)


# -------------------------------------------------------------------------------------- reading the API's documents


def read_job(document: Mapping[str, Any]) -> Job:
    progress = document["progress"]
    names = ("id", "kind", "model", "status", "created_at", "started_at", "finished_at", "expires_at", "error")
    return Job(**{n: document[n] for n in names}, **progress, result=document.get("result"))


def read_result(document: Mapping[str, Any]) -> Result | Comparison:
    """A result document as a Result, or as a Comparison when it holds several methods."""
    head = {name: document[name] for name in ("model", "version", "device", "engine")}
    timing = Timing(**{name: document["timing"].get(name) for name in ("queued_s", "solve_s", "diagnose_s")})
    if "results" in document:
        answers = tuple(MethodAnswer(r["method"], _items(r["items"])) for r in document["results"])
        return Comparison(**head, timing=timing, rules=document["rules"], results=answers)
    return Result(method=document["method"], items=_items(document["items"]), timing=timing, **head)


def _items(documents: Sequence[Mapping[str, Any]]) -> tuple[Item, ...]:
    return tuple(read_item(document) for document in documents)


def read_item(document: Mapping[str, Any]) -> Item:
    names = ("solved_by", "iterations", "residual_rms")
    error = document.get("error")
    diagnostics = document.get("diagnostics")
    return Item(
        x=_array(document.get("x")),
        status=str(document["status"]),
        diagnostics=_diagnostics(diagnostics) if diagnostics else None,
        error=str(error["detail"]) if error else None,
        document=document,
        **{name: document.get(name) for name in names},
    )


_DIAGNOSTICS = tuple(field.name for field in fields(Diagnostics))


def _diagnostics(document: Mapping[str, Any]) -> Diagnostics:
    found: dict[str, Any] = {name: document.get(name) for name in _DIAGNOSTICS}
    found |= {name: _array(found[name]) for name in ("resolution", "std")}
    return Diagnostics(**{**found, "reasons": tuple(found["reasons"] or ())})


def _array(values: Sequence[float] | None) -> np.ndarray | None:
    return None if values is None else np.array(values, dtype=np.float64)
