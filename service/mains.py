"""The processes of the service: the API, a worker, and the process apart in which a worker runs suspect items."""

import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial

import structlog
import torch
import uvicorn
from fastapi import FastAPI

from service.apart import Apart, Keeper, Spawned
from service.app import create_app
from service.deblurring.networks import Networks
from service.deblurring.work import Deblurring
from service.device import choose_device
from service.handler import WorkHandler
from service.inference import Inference
from service.logs import configure_logs
from service.metrics.worker import WorkerMetrics
from service.monitor import Both, WorkerMonitor
from service.patience import Patience
from service.process import keep_what_is_loaded, on_stop_signals, tell_where_time_ran_out
from service.quarantine import Quarantine, Rescue, TimeLimited, attend
from service.queue.heartbeat import Held
from service.queue.window import Gathered, WindowWriter
from service.queue.worker import Worker
from service.rjcp import Judged
from service.settings import Settings, SettingsError, to_env
from service.tracing import start_traces
from service.wiring import neighbours, on_where_it_pays, queue_limits, running_version, window_bounds, worker_config

BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than clients keep idle connections: who closes first must not be left to chance
TICKS_A_LOOK = 5  # uvicorn ticks ten times a second
QUARANTINE = (sys.executable, "-m", "service.cli", "quarantine")
log = structlog.get_logger(__name__)


def run_api(settings: Settings, listening_fd: int | None = None) -> None:
    """Serve the API until a signal; on a socket inherited from the supervisor when there is one."""
    configure_logs(settings.log_level, "api")
    torch.set_num_threads(1)  # the API only checks requests
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(settings.drain_s)),
        server_header=False,
    )
    keep_what_is_loaded()
    sockets = None if listening_fd is None else [socket.socket(fileno=listening_fd)]
    _Server(config, app, Patience(settings.stall_s)).run(sockets)


class _Server(uvicorn.Server):
    """uvicorn, dropping clients that stand still, and telling those who wait for a job when it stops.

    Else it would wait for both.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, patience: Patience) -> None:
        super().__init__(config)
        self.app, self.patience = app, patience

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_LOOK == 0:
            self.patience.look(list(self.server_state.connections), time.monotonic())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.app.state.services.stop()
        await super().shutdown(sockets)


def run_worker(settings: Settings) -> None:
    """Load every model, then work until a signal; what is held is finished first. Raises DeviceUnavailable."""
    configure_logs(settings.log_level, "worker")
    inference, deblurring = _solvers(settings)
    held = Held()
    handler = _warmed(inference, deblurring, held)
    start = _apart(handler, settings, inference.device)  # now: it copies this process, which has no other threads yet
    models = _models(inference, deblurring)
    metrics = WorkerMetrics({"device": inference.device, "engine": inference.engine, "version": running_version()})
    address = metrics.serve(settings.metrics_host, settings.metrics_port)
    judged = Judged(inference, deblurring.networks)
    windows = Gathered(WindowWriter(settings.redis_url, window_bounds(settings)))
    monitor = WorkerMonitor(inference, judged, metrics, windows)
    traces = start_traces(settings, "worker", running_version())
    watching = monitor if traces is None else Both(monitor, traces)
    info = {"metrics": address, "device": inference.device, "engine": inference.engine, "models": ",".join(models)}
    try:
        config, limits = worker_config(settings, inference.device), queue_limits(settings)
        timed = TimeLimited(handler, settings.solve_limit_s)
        rescuer = Rescue(Quarantine(start, settings.solve_limit_s, held.wanted), handler)
        beside = neighbours(settings)
        worker = Worker(settings.redis_url, timed, config, limits, info, None, watching, rescuer, beside, held)
    except ValueError as error:
        raise SettingsError(f"worker settings: {error}") from None
    on_stop_signals(worker.stop)
    tell_where_time_ran_out()
    keep_what_is_loaded()
    worker.run()
    windows.close()
    if traces is not None:
        traces.close()


def _solvers(settings: Settings) -> tuple[Inference, Deblurring]:
    """What solves, on the threads, the device and the engine that were asked for; raises DeviceUnavailable."""
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    buckets = settings.batch_items if on_where_it_pays(settings.buckets, device) else 0
    inference = Inference(settings.checkpoints, device, settings.engine, buckets)
    return inference, Deblurring(Networks(settings.checkpoints, inference.device, settings.engine))


def _models(inference: Inference, deblurring: Deblurring) -> list[str]:
    """The names of what is served, told to the log with what is not."""
    models = [manifest.name for manifest in inference.manifests()] + deblurring.networks.names()
    log.info("models loaded", device=inference.device, engine=inference.engine, models=models)
    for name, reason in inference.refused().items():
        log.warning("checkpoint left out", model=name, reason=reason)
    return models


def _warmed(inference: Inference, deblurring: Deblurring, held: Held | None = None) -> WorkHandler:
    """A handler whose first request pays for no loading."""
    inference.warm()
    deblurring.warm()
    return WorkHandler(inference, deblurring, held.wanted, held.advance) if held else WorkHandler(inference, deblurring)


def _apart(handler: WorkHandler, settings: Settings, device: str) -> Callable[[], Apart]:
    """Starts the process in which suspect items run. A GPU's state and a pool of threads do not outlive a fork."""
    spawn = partial(Spawned, QUARANTINE, {**os.environ, **to_env(settings)})
    if device != "cpu" or settings.threads > 1:
        return spawn
    keeper = Keeper(partial(attend, handler=handler))

    def start() -> Apart:
        try:
            return keeper.start()
        except OSError as error:
            log.warning("copy of the worker is gone; starting from nothing", error=str(error))
            return spawn()

    return start


def run_quarantine(settings: Settings, fd: int) -> None:
    """Solve what may be poison, one item at a time, for the worker at the other end of ``fd``."""
    configure_logs(settings.log_level, "quarantine")
    alone = settings.model_copy(update={"buckets": "off"})  # items come one by one: there are no sizes to warm
    attend(fd, _warmed(*_solvers(alone)))  # loading counts towards nobody's time limit
