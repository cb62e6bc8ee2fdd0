"""Health: is the process alive, is the service ready, and one line for a status panel."""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.answers import health as answers
from service.errors import ServiceError, UnknownModel
from service.openapi import errors
from service.queue.records import WorkerInfo
from service.responses import JSON
from service.security.access import caller_of
from service.state import Services, Shared
from service.wiring import running_version

router = APIRouter(prefix="/health", tags=["health"])
_READY = answers.Ready | answers.BriefReady


@router.get("/live", response_model=answers.Live)
async def live() -> Response:
    """The process answers."""
    return JSON({"status": "ok"})


@router.get("/ready", response_model=_READY, responses={503: {"model": _READY, "description": "not ready, and why"}})
async def ready(request: Request, services: Shared) -> Response:
    """Redis reachable, a worker alive, models loaded, device as asked. Without an API key only whether."""
    checks, workers = await checks_of(services)
    ok = all(check["ok"] for check in checks.values())
    if not caller_of(request).may("read"):
        return JSON({"status": "ready" if ok else "not_ready"}, 200 if ok else 503)
    shown = [{"id": w.id, "host": w.host, "pid": w.pid, "device": w.device, "engine": w.engine} for w in workers]
    document = {"status": "ready" if ok else "not_ready", "checks": checks, "workers": shown}
    return JSON(document, 200 if ok else 503)


@router.get(
    "",
    response_model=answers.Health,
    responses={503: {"model": answers.Health, "description": "something is wrong; see /health/ready"}},
)
async def health(services: Shared) -> Response:
    """One line for a status panel."""
    checks, workers = await checks_of(services)
    ok = all(check["ok"] for check in checks.values())
    names = await services.in_thread(services.watch.judged.versions)
    document = {
        "status": "ok" if ok else "unavailable",
        "version": running_version(),
        "commit": services.commit,
        "database": "ok" if checks["queue"]["ok"] else "unreachable",
        "device": workers[0].device if workers else None,
        "rjcp": await _states(services) if checks["queue"]["ok"] else dict.fromkeys(names, "no_data"),
    }
    return JSON(document, 200 if ok else 503)


@router.get("/rjcp", response_model=answers.Reports, responses=errors(503))
async def rjcp(services: Shared) -> Response:
    """Per model: how its last answers compare with its calibration set, and whether that is still ok."""
    reports = await services.watch.reports()
    return JSON({"models": {name: report.document() for name, report in reports.items()}})


@router.get("/rjcp/{model}", response_model=answers.ReportWithSamples, responses=errors(404, 503))
async def rjcp_of(model: str, services: Shared) -> Response:
    """One model's report, and the answers it rests on: time, RJCP, combined p-value and verdict of each."""
    report = (await services.watch.reports()).get(model)
    if report is None:
        raise UnknownModel(f"no model named {model[:100]!r} is served here")
    return JSON({**report.document(), "samples": report.samples()})


async def _states(services: Services) -> dict[str, str]:
    return {name: report.standing.state for name, report in (await services.watch.reports()).items()}


async def checks_of(services: Services) -> tuple[dict[str, dict[str, Any]], list[WorkerInfo]]:
    """The four conditions of being ready, each with a sentence."""
    workers: list[WorkerInfo] = []
    queue = _check(True, "reachable")
    try:
        await services.store.ping()
        workers = await services.live_workers()
    except ServiceError as error:
        queue = _check(False, error.detail)
    names = [manifest.name for manifest in await services.in_thread(services.inference.manifests)]
    asked = services.settings.device
    devices = sorted({worker.device for worker in workers})
    as_asked = bool(devices) and (asked == "auto" or all(device.startswith(asked) for device in devices))
    checks = {
        "queue": queue,
        "worker": _check(bool(workers), f"{len(workers)} alive"),
        "models": _check(bool(names), ", ".join(names) or f"no checkpoint in {services.settings.checkpoints}"),
        "device": _check(as_asked, f"asked {asked}, workers on {', '.join(devices) or 'none'}"),
    }
    return checks, workers


def _check(ok: bool, detail: str) -> dict[str, Any]:
    return {"ok": ok, "detail": detail}
