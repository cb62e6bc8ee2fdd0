"""What a long-running process does besides its work: end when its supervisor is gone, and stop on a signal."""

import os
import signal
import threading
import time
from collections.abc import Callable

POLL_S = 0.5
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
