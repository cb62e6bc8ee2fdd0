"""Nothing outlives a test run: services, queue servers and browsers end with it, however it ends.

What is started inherits the run's mark in its environment; a watcher, in a session of its own, sees the run
end and ends everything that bears the mark. A run that is killed can do nothing for its children, and they are started
from many places and by many programs: so it is neither a signal handler nor a flag of each start.
"""

import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARK = "TEST_RUN_MARK"
POLL_S, GRACE_S = 0.5, 15.0


def hold() -> None:
    """From now on, whatever this process starts ends with it; nothing to do inside a run that is held already."""
    if MARK in os.environ:
        return
    unmarked = dict(os.environ)
    os.environ[MARK] = uuid.uuid4().hex
    words = [sys.executable, str(Path(__file__)), str(os.getpid()), os.environ[MARK]]
    silent = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
    os.posix_spawn(sys.executable, words, unmarked, file_actions=silent, setsid=True)


def marked(mark: str) -> Iterator[int]:
    """The processes that were started with the mark in their environment."""
    line = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and line in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def end(mark: str, grace_s: float = GRACE_S) -> None:
    """Asks them to end, and then no longer asks."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in marked(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + grace_s
        while any(True for _ in marked(mark)) and time.monotonic() < deadline:
            time.sleep(0.1)


def main() -> None:
    run, mark = int(sys.argv[1]), sys.argv[2]
    while os.getppid() == run:
        time.sleep(POLL_S)
    end(mark)


if __name__ == "__main__":
    main()
