"""What decides how an observation is solved, as one value that two processes can hand each other."""

import json
from dataclasses import dataclass, fields
from functools import lru_cache

from models.checkpoint import Manifest
from service.errors import FieldError

MAX_ITERATIONS = 10_000
SHORT = 1024  # characters of a spec that is kept, both ways


@dataclass(frozen=True)
class SolveSpec:
    """Everything that decides how an observation is solved; items with equal specs may share a batch.

    ``None`` leaves a choice to the preset; ``constraint`` is the API's constraint as canonical JSON; ``uncertainty``
    None gives error bars where they cost next to nothing.
    """

    model: str
    version: int
    methods: tuple[str, ...]
    preset: str = "product"
    max_iterations: int | None = None
    relaxation: float | None = None
    tolerance: float | None = None
    history: bool = False
    constraint: str | None = None
    uncertainty: bool | None = None

    def to_json(self) -> str:
        """Canonical: equal specs give equal strings."""
        return _text(self) if len(self.constraint or "") < SHORT else _written(self)

    def as_calibrated(self, method: str, manifest: Manifest) -> bool:
        """Whether answers are made as the calibration set was: only those can be ranked among it."""
        own_rules = (self.max_iterations, self.relaxation, self.tolerance, self.constraint) == (None,) * 4
        return own_rules and method == "auto" and self.preset == manifest.preset

    @classmethod
    def from_json(cls, text: str) -> "SolveSpec":
        """The inverse of to_json."""
        return _spec(text) if len(text) < SHORT else _read(text)


def _written(spec: SolveSpec) -> str:
    return json.dumps(vars(spec), sort_keys=True, separators=(",", ":"))


def _read(text: str) -> SolveSpec:
    values = json.loads(text)
    known = {field.name: values[field.name] for field in fields(SolveSpec) if field.name in values}
    return SolveSpec(**{**known, "methods": tuple(values["methods"])})


# Most requests ask for what one before them asked for.
_text, _spec = lru_cache(maxsize=256)(_written), lru_cache(maxsize=256)(_read)


def option_errors(spec: SolveSpec) -> list[FieldError]:
    """The options that are out of bounds."""
    wrong = []
    if spec.max_iterations is not None and not 1 <= spec.max_iterations <= MAX_ITERATIONS:
        wrong.append(FieldError("options.max_iterations", f"must be between 1 and {MAX_ITERATIONS}"))
    if spec.relaxation is not None and not 0.0 < spec.relaxation <= 1.0:
        wrong.append(FieldError("options.relaxation", "must be above 0 and at most 1"))
    if spec.tolerance is not None and not 0.0 < spec.tolerance < float("inf"):
        wrong.append(FieldError("options.tolerance", "must be a positive number"))
    return wrong
