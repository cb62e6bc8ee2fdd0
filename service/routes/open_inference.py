"""/v2: the Open Inference Protocol, for clients written for Triton or KServe."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from service.answers import protocols as answers
from service.errors import InvalidInput, NotInTime, ServiceError
from service.inference import SolveSpec
from service.openapi import errors, files
from service.parts import Parts
from service.prepare import job_of, query_data
from service.protocols import open_inference as protocol
from service.responses import JSON
from service.results import items_of_method, stacked
from service.routes.explained import ExplainedRoute
from service.routes.health import checks_of
from service.state import Services, Shared
from service.wiring import running_version

OPTIONS = ("method", "preset", "max_iterations", "relaxation", "tolerance")
"""Request parameters that choose how to solve; all others are ignored, as the protocol asks."""


class _Route(ExplainedRoute):
    def explain(self, error: ServiceError) -> dict[str, Any]:
        return protocol.explain(error)


router = APIRouter(prefix="/v2", tags=["open inference protocol"], route_class=_Route)
_OF_A_MODEL = errors(404, 422, 503)
_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": answers.ServerReady, "description": "not ready"}}
_RAW = files("application/octet-stream")
_INFER_BODY = {"application/json": {"schema": {"type": "object", "required": ["inputs"]}}} | _RAW
_INFER: dict[str, Any] = {
    "response_model": answers.InferResponse,
    "responses": _OF_A_MODEL | errors(504) | {200: {"content": _RAW}},
    "openapi_extra": {"requestBody": {"required": True, "content": _INFER_BODY}},
}


@router.get("", response_model=answers.ServerMetadata)
async def server() -> Response:
    """What this server is."""
    return JSON({"name": "deceptron", "version": running_version(), "extensions": protocol.EXTENSIONS})


@router.get("/health/live", response_model=answers.ServerLive)
async def live() -> Response:
    """The process answers."""
    return JSON({"live": True})


@router.get("/health/ready", response_model=answers.ServerReady, responses=_NOT_READY)
async def ready(services: Shared) -> Response:
    """The service can solve: the same conditions as /health/ready."""
    checks, _ = await checks_of(services)
    ok = all(check["ok"] for check in checks.values())
    return JSON({"ready": ok}, 200 if ok else 503)


@router.get("/models/{name}", response_model=answers.ModelMetadata, responses=_OF_A_MODEL)
@router.get("/models/{name}/versions/{version}", response_model=answers.ModelMetadata, responses=_OF_A_MODEL)
async def metadata(name: str, services: Shared, version: str | None = None) -> Response:
    """The tensors of a model."""
    return JSON(await services.in_thread(_metadata, services, name, _number(version)))


@router.get("/models/{name}/ready", response_model=answers.ModelReady, responses=_OF_A_MODEL)
@router.get("/models/{name}/versions/{version}/ready", response_model=answers.ModelReady, responses=_OF_A_MODEL)
async def model_ready(name: str, services: Shared, version: str | None = None) -> Response:
    """The model is there and may be used."""
    loaded = await services.in_thread(services.inference.loaded, name, _number(version))
    return JSON({"name": loaded.manifest.name, "ready": True})


@router.post("/models/{name}/infer", **_INFER)
@router.post("/models/{name}/versions/{version}/infer", **_INFER)
async def infer(name: str, request: Request, services: Shared, version: str | None = None) -> Response:
    """Observations in, reconstructions out, in one exchange; longer work belongs to POST /invert."""
    body = await services.body(request)
    asked = await services.in_thread(protocol.parse_request, body, request.headers.get(protocol.HEADER))
    options = {key: asked.parameters[key] for key in OPTIONS if key in asked.parameters}
    data = query_data({"model": name, "version": _number(version), **options})
    make = partial(job_of, "invert", data, lambda: asked.observations, services.inference, services.settings, lax=True)
    job = await services.in_thread(make)
    status = await services.run(request, job, services.settings.max_wait_s)
    if not status.finished:
        await services.store.cancel(status.id)
        raise NotInTime(f"not done within {services.settings.max_wait_s:g} s, and canceled; send it to POST /invert")
    chunks = await services.store.parts(status)
    spec = SolveSpec.from_json(status.spec)
    head = {"model_name": spec.model, "model_version": str(spec.version)}
    head |= {"id": asked.id} if asked.id is not None else {}
    render = partial(_render, head, chunks, asked.wanted)
    return _answer(*await services.in_thread(render))


def _render(head: dict[str, str], chunks: list[Parts], wanted: tuple[protocol.Wanted, ...]) -> tuple[bytes, int | None]:
    return protocol.render_response(head, stacked(chunks)[0], items_of_method(chunks, 0), wanted)


def _answer(body: bytes, json_length: int | None) -> Response:
    if json_length is None:
        return Response(body, media_type="application/json")
    return Response(body, headers={protocol.HEADER: str(json_length)}, media_type="application/octet-stream")


def _metadata(services: Services, name: str, version: int | None) -> dict[str, Any]:
    loaded = services.inference.loaded(name, version)
    shapes = {"x": [-1, loaded.problem.n]}
    return {
        "name": loaded.manifest.name,
        "versions": [str(found) for found in services.inference.registry.versions(loaded.manifest.name)],
        "platform": "deceptron",
        "inputs": [{"name": protocol.OBSERVATIONS, "datatype": "FP64", "shape": [-1, loaded.problem.m]}],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": shapes.get(output, [-1])}
            for output, datatype in protocol.OUTPUTS.items()
        ],
    }


def _number(version: str | None) -> int | None:
    """A version in a path is a string in this protocol."""
    if version is None:
        return None
    if not (version.isascii() and version.isdigit() and len(version) <= 9 and int(version) > 0):
        raise InvalidInput.at("version", "must be a whole number of at least 1")
    return int(version)
