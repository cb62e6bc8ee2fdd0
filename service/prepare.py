"""From a request's bytes to a job: decode, validate, resolve the model, split into chunks. Runs in a thread."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from service.arrays import decode_observations, decode_observations_npy, encode_npy
from service.body import NPY, parse_json
from service.errors import InvalidInput
from service.inference import Inference, SolveSpec
from service.queue.records import Chunk, NewJob
from service.schemas import CompareParameters, InvertParameters, Options, validate
from service.settings import Settings

Kind = Literal["invert", "compare"]
_OPTIONS = tuple(Options.model_fields)


@dataclass(frozen=True)
class RawRequest:
    """A POST as it came in; `query` is only read beside an npy body."""

    kind: Kind
    content_type: str
    body: bytes
    query: Mapping[str, str]
    idempotency_key: str | None


def prepare(raw: RawRequest, inference: Inference, settings: Settings) -> NewJob:
    """Everything a POST does before the queue. Raises InvalidInput, MalformedBody, UnknownModel."""
    data, lax = (_parsed_query(raw.query), True) if raw.content_type == NPY else (parse_json(raw.body), False)
    given = data.pop("observations", None)
    observe = partial(decode_observations_npy, raw.body) if lax else partial(_required, given, "observations")
    return job_of(raw.kind, data, observe, inference, settings, lax=lax, idempotency_key=raw.idempotency_key)


def job_of(
    kind: Kind,
    data: dict[str, Any],
    observe: Callable[[], np.ndarray],
    inference: Inference,
    settings: Settings,
    *,
    lax: bool,
    idempotency_key: str | None = None,
) -> NewJob:
    """A job from parameters in the shape of the JSON body and observations that are only decoded once those are valid.

    `lax` reads numbers from strings and names options without their group, as a query does.
    """
    parameters = _parameters(kind, data, lax)
    _check_limits(parameters, settings, "" if lax else "options.")
    spec = _spec(parameters, inference)
    observations = observe()
    _check_count(len(observations), settings)
    inference.check(spec, observations.shape[1])
    return _job(kind, spec, observations, settings.chunk_items, idempotency_key)


def query_data(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flat parameters in the shape of the JSON body: options together."""
    data: dict[str, Any] = {name: value for name, value in values.items() if name not in _OPTIONS}
    data["options"] = {name: values[name] for name in _OPTIONS if name in values}
    return data


def _required(value: object, field: str) -> np.ndarray:
    if value is None:
        raise InvalidInput.at(field, "is required; send one observation (m numbers) or many (B x m)")
    return decode_observations(value, field)


def _parsed_query(query: Mapping[str, str]) -> dict[str, Any]:
    """Query parameters in the shape of the JSON body, methods and constraint parsed."""
    data = query_data(query)
    if "methods" in data:
        data["methods"] = [name.strip() for name in data["methods"].split(",")]
    if "constraint" in data:
        data["constraint"] = _parse_constraint(data["constraint"])
    if "observations" in data:
        raise InvalidInput.at("observations", "is the body itself when that is npy; leave it out of the query")
    return data


def _parse_constraint(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput.at("constraint", "is not valid JSON; in a query it is a JSON object, URL-encoded") from None


def _parameters(kind: Kind, data: dict[str, Any], lax: bool) -> InvertParameters | CompareParameters:
    prefix = "options." if lax else ""
    if kind == "invert":
        return validate(InvertParameters, data, lax=lax, prefix=prefix)
    parameters = validate(CompareParameters, data, lax=lax, prefix=prefix)
    if len(set(parameters.methods)) < len(parameters.methods):
        raise InvalidInput.at("methods", "names a method twice")
    return parameters


def _check_limits(parameters: InvertParameters | CompareParameters, settings: Settings, prefix: str) -> None:
    asked = parameters.options.max_iterations
    if asked is not None and asked > settings.max_iterations:
        raise InvalidInput.at(f"{prefix}max_iterations", f"is {asked}; at most {settings.max_iterations} are allowed")


def _check_count(count: int, settings: Settings) -> None:
    # More than the queue can ever hold would be told to come back later for ever.
    limit = min(settings.max_items, settings.max_queued_items)
    if count > limit:
        raise InvalidInput.at("observations", f"holds {count} observations; at most {limit} are allowed per request")


def _spec(parameters: InvertParameters | CompareParameters, inference: Inference) -> SolveSpec:
    compare = isinstance(parameters, CompareParameters)
    options = parameters.options
    manifest = inference.manifest(parameters.model, parameters.version)
    return SolveSpec(
        model=parameters.model,
        version=manifest.version,
        methods=tuple(parameters.methods) if isinstance(parameters, CompareParameters) else (parameters.method,),
        preset=options.preset or manifest.preset,
        max_iterations=options.max_iterations,
        relaxation=options.relaxation,
        tolerance=options.tolerance,
        history=compare or options.history,
        constraint=_canonical(parameters.constraint),
        uncertainty=parameters.uncertainty,
    )


def _canonical(constraint: dict[str, Any] | None) -> str | None:
    if not constraint:
        return None
    try:
        return json.dumps(constraint, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise InvalidInput.at("constraint", "holds NaN or an infinity; every bound must be a finite number") from None


def _job(kind: Kind, spec: SolveSpec, observations: np.ndarray, chunk_items: int, key: str | None) -> NewJob:
    text = spec.to_json()
    digest = hashlib.sha256(f"{kind}\n{text}\n{observations.shape}\n".encode())
    digest.update(observations.data)
    blocks = [observations[i : i + chunk_items] for i in range(0, len(observations), chunk_items)]
    chunks = tuple(Chunk(encode_npy(block), len(block)) for block in blocks)
    return NewJob(kind, spec.model, text, chunks, key, digest.hexdigest())
