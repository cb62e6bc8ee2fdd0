"""What a long-running process does besides its work: end when its supervisor is gone, stop on a signal, keep time."""

import faulthandler
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

POLL_S = 0.5
SOON_S = 1e-3  # 0 would mean never
YOUNG = 10_000  # new objects between two looks for garbage; Python's own 700 are a dozen requests
EXIT_CONFIG = 78  # sysexits' EX_CONFIG: starting this process again cannot help


def exit_with_supervisor(supervisor: int | None) -> None:
    """Send this process SIGTERM once its parent is no longer `supervisor` (None: it has none to follow)."""
    if supervisor is None:
        return

    def watch() -> None:
        while os.getppid() == supervisor:
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT; it must be safe in a signal handler (set a flag, no locks)."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def keep_what_is_loaded() -> None:
    """Spares the garbage collector, from now on, all that was imported and loaded to stay: hundreds of thousands of
    objects, a tenth of a second each time it goes through them, in the middle of somebody's request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


def tell_where_time_ran_out() -> None:
    """On SIGALRM, write to stderr where every thread stands; the process ends all the same."""
    faulthandler.register(signal.SIGALRM, file=sys.stderr, all_threads=True, chain=True)


class _Alarm:
    """The kernel's one timer a process, for as many limits as there are at once: it rings for the next of them."""

    def __init__(self) -> None:
        self._due: dict[object, float] = {}
        self._lock = threading.Lock()

    def add(self, name: object, limit_s: float) -> None:
        with self._lock:
            self._due[name] = time.monotonic() + limit_s
            self._set()

    def remove(self, name: object) -> None:
        with self._lock:
            del self._due[name]
            self._set()

    def _set(self) -> None:
        left_s = max(min(self._due.values()) - time.monotonic(), SOON_S) if self._due else 0.0
        signal.setitimer(signal.ITIMER_REAL, left_s)


_ALARM = _Alarm()


@contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """The block ends in time, or the process does, by SIGALRM: the kernel's timer needs no thread that still runs.

    Blocks may lie within each other, and run beside each other in several threads.
    """
    name = object()
    _ALARM.add(name, limit_s)
    try:
        yield
    finally:
        _ALARM.remove(name)
