"""Locks on files that the kernel gives back when their holder dies, however it dies."""

import fcntl
from pathlib import Path
from typing import IO


def try_lock(path: Path, mode: str) -> IO[bytes] | None:
    """The file, locked for as long as it is open here or in a child; None when another holds it."""
    file: IO[bytes] = path.open(mode)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
