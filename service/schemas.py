"""The shapes of requests and answers: strict models for what users send, and documentation for /docs."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import FieldError, InvalidInput

Method = Literal["auto", "dipg", "gn", "lm", "gd", "lbfgs", "oneshot"]
Preset = Literal["product", "paper"]
ALL_METHODS: tuple[Method, ...] = ("auto", "dipg", "gn", "lm", "gd", "lbfgs", "oneshot")
Name = Annotated[str, Field(min_length=1, max_length=100)]
M = TypeVar("M", bound=BaseModel)


class Strict(BaseModel):
    """No coercion, no unknown fields, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class Options(Strict):
    preset: Preset | None = Field(
        default=None,
        description="product: noise level, rho 1; paper: the published protocol; null: the model's own, for which its "
        "verdicts are calibrated",
    )
    max_iterations: int | None = Field(default=None, ge=1, description="cap on iterations; null: the preset's")
    relaxation: float | None = Field(default=None, gt=0, le=1, description="rho of the update; null: the preset's")
    tolerance: float | None = Field(default=None, gt=0, description="residual to stop at; null: the preset's")
    history: bool = Field(default=False, description="return the residual of every iteration")


class Parameters(Strict):
    """What /invert and /compare share, all but the observations."""

    model: Name = Field(description="a name of GET /models", examples=["heat1d"])
    version: int | None = Field(default=None, ge=1, description="null: the newest")
    options: Options = Options()
    constraint: dict[str, Any] | None = Field(
        default=None,
        description="tightens the problem's own constraint",
        examples=[{"box": {"lower": -3, "upper": 3}, "fixed": {"indices": [0, 63], "values": [0, 0]}}],
    )
    uncertainty: bool | None = Field(
        default=None,
        description="true: std and resolution of every unknown, whatever they cost; false: neither; null: where they "
        "cost next to nothing (up to 64 unknowns)",
    )


class InvertParameters(Parameters):
    method: Method = "auto"


class CompareParameters(Parameters):
    methods: list[Method] = Field(default=list(ALL_METHODS), min_length=1, max_length=len(ALL_METHODS))


def validate(model: type[M], data: Mapping[str, Any], *, lax: bool = False, prefix: str = "") -> M:
    """Validate, or raise InvalidInput naming every wrong field. `lax` reads numbers from strings (query parameters)."""
    try:
        return model.model_validate(dict(data), strict=not lax)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
    errors = [FieldError(field_path(e["loc"]).removeprefix(prefix), sentence(e["type"], e["msg"])) for e in found[:20]]
    raise InvalidInput("; ".join(f"{e.field}: {e.detail}" for e in errors[:3]), errors)


def field_path(location: Sequence[int | str]) -> str:
    """('options', 'max_iterations') -> options.max_iterations; indices in brackets."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:60]}" for part in location)
    return path.removeprefix(".") or "body"


def sentence(kind: str, message: str) -> str:
    """Pydantic's complaint in plain words."""
    known = {"missing": "is required", "extra_forbidden": "is not a known field"}
    return known.get(kind, message[:1].lower() + message[1:])


# --------------------------------------------------------------------------- documentation only (never validated)


class ArrayObject(BaseModel):
    shape: list[int]
    dtype: str = Field(examples=["float32"])
    data: str = Field(description="base64, little-endian, C order")


Observations = list[float] | list[list[float]] | ArrayObject


class InvertRequest(InvertParameters):
    observations: Observations = Field(description="one observation (m values) or many (B x m)")


class CompareRequest(CompareParameters):
    observations: Observations = Field(description="one observation (m values) or many (B x m)")


class ProblemField(BaseModel):
    field: str
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField] = []
    request_id: str | None = None
