"""The API: `create_app(settings)`. It never solves anything itself; it validates, queues and reports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI

from service.deblurring.networks import Networks
from service.inference import Inference
from service.logs import RequestLog
from service.metrics.api import ApiMetrics, CountRequests
from service.openapi import document
from service.protocols.um_bridge import Bridge
from service.queue.connection import connect_async
from service.queue.jobs import JobStore
from service.queue.window import Windows
from service.responses import install_error_handlers
from service.rjcp import Judged, RjcpWatch
from service.routes import console, deblur, docs, health, jobs, metrics, models, open_inference, solve, um_bridge
from service.security.access import Gate
from service.security.headers import SecurityHeaders
from service.security.policy import access_policy
from service.settings import Settings, load_settings
from service.state import Services, only_own_jobs
from service.tracing import start_traces
from service.tracing.requests import TraceRequests
from service.wiring import queue_limits, require_redis, running_commit, running_version, thresholds, window_bounds

_DESCRIPTION = "Inversion as a service: from an observation to the unknowns behind it, and whether to believe them."


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; settings come from the environment when none are given. Raises SettingsError."""
    settings = require_redis(settings or load_settings())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client = connect_async(settings.redis_url)
        store, windows = JobStore(client, queue_limits(settings)), Windows(client, window_bounds(settings))
        app.state.services = _services(settings, store, windows)
        watching = asyncio.create_task(app.state.metrics.loop.run(), name="loop-watch")
        yield
        watching.cancel()
        await store.close()
        await client.aclose()

    app = FastAPI(
        title="Deceptron",
        version=running_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        dependencies=[Depends(only_own_jobs)],
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours are our own (decision 31)
    )
    for part in (solve, deblur, jobs, models, health, metrics, open_inference, um_bridge, console, docs):
        app.include_router(part.router)
    install_error_handlers(app)
    _surround(app, settings)
    return app


def _services(settings: Settings, store: JobStore, windows: Windows) -> Services:
    # The API only looks at requests: the workers have the device to themselves.
    inference = Inference(settings.checkpoints, "cpu", "torch")
    networks = Networks(settings.checkpoints, device="cpu", engine="torch")
    limiter = CapacityLimiter(settings.decode_threads)
    return Services(
        settings=settings,
        store=store,
        inference=inference,
        networks=networks,
        watch=RjcpWatch(Judged(inference, networks), windows, thresholds(settings), limiter),
        bridge=Bridge(inference),
        limiter=limiter,
        commit=running_commit(settings),
        stopping=asyncio.Event(),
    )


def _surround(app: FastAPI, settings: Settings) -> None:
    """Its document, and what every request passes, from the inside out: gate, counters, log, headers."""
    policy = access_policy(settings)
    app.openapi = cache(partial(document, app, policy.keys is not None))  # type: ignore[method-assign]
    traces = start_traces(settings, "api", running_version())
    app.state.metrics = ApiMetrics(running_version(), running_commit(settings))
    app.add_middleware(Gate, policy=policy)
    app.add_middleware(CountRequests, metrics=app.state.metrics)
    app.add_middleware(RequestLog)
    if traces is not None:
        app.add_middleware(TraceRequests, traces=traces)
    app.add_middleware(SecurityHeaders)
