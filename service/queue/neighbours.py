"""Workers on one machine see each other's deaths at once, and need not wait for a lease to run out.

Each worker holds a lock on a file that bears its id. The kernel gives a lock back with its holder's last breath: a file
that anybody can lock is a dead worker's. Nothing is concluded from a file that is not there, so what this cannot
see (another machine, a folder that cannot be written) waits for the lease as before.
"""

import socket
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO

import structlog

from service.queue.keys import digest
from service.queue.locks import try_lock

log = structlog.get_logger(__name__)


class Neighbours:
    """The workers of one queue on this machine, whose files lie in a folder of their own under ``folder``."""

    def __init__(self, folder: Path, queue: str) -> None:
        # By host: where machines share a folder, one may not see the locks of another.
        self._folder = folder / digest(f"{socket.gethostname()}\n{queue}")
        self._own: IO[bytes] | None = None

    def join(self, worker_id: str) -> None:
        """Makes this process's death visible from now on; where the folder cannot be written, it stays invisible."""
        unborn, born = self._folder / f".{worker_id}", self._folder / worker_id
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._own = try_lock(unborn, "wb")
            if self._own is None:
                raise BlockingIOError(f"{unborn} is locked")
            unborn.rename(born)  # seen only once it is locked
        except OSError as error:
            log.info("neighbours_unseen", folder=str(self._folder), error=str(error))

    def leave(self, worker_id: str) -> None:
        """Takes the own file away."""
        if self._own is not None:
            self._forget(worker_id)
            self._own.close()
            self._own = None

    def dead(self) -> Iterator[str]:
        """The ids of workers that died here; each is forgotten once the caller has dealt with it."""
        with suppress(OSError):
            for path in sorted(self._folder.iterdir()):
                if path.name.startswith("."):
                    continue
                with suppress(OSError), try_lock(path, "rb") or nullcontext() as file:
                    if file is not None:
                        yield path.name
                        self._forget(path.name)

    def _forget(self, worker_id: str) -> None:
        (self._folder / worker_id).unlink(missing_ok=True)
