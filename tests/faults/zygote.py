"""Loads torch and one model once, then forks APIs and workers: ready in milliseconds, to be killed by the dozen.

Each line on stdin, ``api URL``, ``worker URL``, ``afar URL`` (a worker that no other one sees, as if on another
machine) or ``hurtful URL``, forks one; its process id is the answer on stdout.
They are the product's own: `service.mains.run_api`, and a `service.queue.worker.Worker` made as in `run_worker`.
A worker marks that a batch is running by a file ``running/PID``, and appends to ``redelivered.log`` what it runs again.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from service.apart import Keeper
from service.deblurring.networks import Networks
from service.deblurring.work import Deblurring
from service.handler import WorkHandler
from service.inference import Inference
from service.logs import configure_logs
from service.mains import run_api
from service.process import exit_with_supervisor, on_stop_signals
from service.quarantine import Quarantine, Rescue, TimeLimited, attend
from service.queue.batching import Finished, Staged
from service.queue.worker import Worker
from service.settings import Settings, load_settings
from service.wiring import neighbours, queue_limits, worker_config
from tests.faults.hurtful import Hurtful


class Marked(TimeLimited):
    """Leaves a file while a batch is solved, and waits a little first, so that a kill finds it there."""

    def __init__(self, handler: Staged, limit_s: float, folder: Path, pause_s: float) -> None:
        super().__init__(handler, limit_s)
        self.folder, self.pause_s = folder, pause_s

    def solve(self, spec: str, decoded: Sequence[Any]) -> Any:
        mark = self.folder / str(os.getpid())
        mark.touch()
        time.sleep(self.pause_s)
        solved = super().solve(spec, decoded)
        mark.unlink()
        return solved


class Ledger:
    """An observer that writes down redeliveries and what was given up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finished(self, batch: Finished) -> None:
        self._append("finished.log", batch.items)

    def redelivered(self, chunks: int) -> None:
        self._append("redelivered.log", chunks)

    def poisoned(self, items: int) -> None:
        self._append("poisoned.log", items)

    def _append(self, name: str, number: int) -> None:
        with (self.folder / name).open("ab", buffering=0) as log:
            log.write(b"%d\n" % number)


def run_worker(settings: Settings, inference: Inference, handler: WorkHandler, folder: Path, pause_s: float) -> None:
    configure_logs(settings.log_level, "worker")
    keeper = Keeper(partial(attend, handler=handler))
    marked = Marked(handler, settings.solve_limit_s, folder / "running", pause_s)
    rescuer = Rescue(Quarantine(keeper.start, settings.solve_limit_s), handler)
    info = {"device": inference.device, "engine": inference.engine, "models": "oscillator"}
    config, limits = worker_config(settings, inference.device), queue_limits(settings)
    beside = neighbours(settings)
    worker = Worker(
        settings.redis_url, marked, config, limits, info, observer=Ledger(folder), rescuer=rescuer, neighbours=beside
    )
    on_stop_signals(worker.stop)
    worker.run()


def main() -> None:
    folder, listening_fd, pause_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    torch.set_num_threads(1)
    settings = load_settings()
    inference = Inference(settings.checkpoints, settings.device)
    inference.warm()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps them
    print("ready", flush=True)
    parent = os.getpid()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(parent, line.split(), settings, inference, folder, listening_fd, pause_s)
        print(pid, flush=True)


def child(
    parent: int,
    words: list[str],
    settings: Settings,
    inference: Inference,
    folder: Path,
    listening_fd: int,
    pause_s: float,
) -> None:
    """Never returns. ``worker URL`` and ``api URL``."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(0)
    exit_with_supervisor(parent)
    code = 1
    try:
        here = settings.model_copy(update={"redis_url": words[1]})
        deblurring = Deblurring(Networks(settings.checkpoints, inference.device))
        if words[0] == "api":
            run_api(here, os.dup(listening_fd))
        elif words[0] in ("worker", "afar"):
            here = (
                here if words[0] == "worker" else here.model_copy(update={"data_dir": folder / f"afar-{os.getpid()}"})
            )
            run_worker(here, inference, WorkHandler(inference, deblurring), folder, pause_s)
        else:
            run_worker(here, inference, Hurtful(inference, deblurring, folder), folder, pause_s)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
