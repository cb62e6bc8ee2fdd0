"""A private queue server for one machine: started beside the service, kept in its data directory."""

import json
import os
import re
import secrets
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

import redis
import structlog

from service.errors import QueueUnavailable
from service.queue.binary import find_server_binary
from service.queue.connection import OUTAGES, connect
from service.queue.locks import try_lock

LONGEST_SOCKET_PATH = 100  # sun_path holds 104 bytes on macOS, 108 on Linux, with the closing NUL

log = structlog.get_logger(__name__)


class EmbeddedServer:
    """Starts a server in ``data_dir``, or joins the live one that is there already.

    Two locks, both released by the kernel when their holder dies: ``server.lock`` is inherited by the server process
    (no second server on the same files), ``owner.lock`` is held by the process that will stop it. A server that
    outlived its owner is adopted by the next one to come.
    """

    def __init__(
        self, data_dir: Path, start_timeout_s: float = 15.0, stop_timeout_s: float = 15.0, memory_bytes: int = 0
    ) -> None:
        self._dir = Path(data_dir).resolve()
        self._memory_bytes = memory_bytes  # 0: no bound
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._owner: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """Where it listens; holds the password if there is one. Raises QueueUnavailable before ``start``."""
        if self._url is None:
            raise QueueUnavailable("the embedded queue server has not been started")
        return self._url

    @property
    def owned(self) -> bool:
        """Whether ``stop`` will stop the server (False: another live process started it)."""
        return self._owner is not None

    def alive(self) -> bool:
        """Whether it answers right now."""
        return self._url is not None and _pid_answering(self._url) is not None

    def start(self) -> "EmbeddedServer":
        """Starts or joins; returns when it answers. Does nothing while it is alive. Raises QueueUnavailable."""
        if self.alive():
            return self
        self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        deadline = time.monotonic() + self._start_timeout_s
        try:
            self._start_or_join(deadline)
        except BaseException:
            self._disown()
            raise
        log.info("queue_server_ready", data_dir=str(self._dir), owned=self.owned)
        return self

    def stop(self) -> None:
        """Stops the server if it is ours, letting it write everything down; otherwise only leaves it."""
        url, self._url = self._url, None
        if self._owner is None or url is None:
            return
        if self._process is not None:
            self._terminate(self._process)
        else:
            self._shut_down(url)
        self._process = None
        self._disown()

    def __enter__(self) -> "EmbeddedServer":
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def _record_path(self) -> Path:
        return self._dir / "server.json"

    @property
    def _log_path(self) -> Path:
        return self._dir / "server.log"

    def _start_or_join(self, deadline: float) -> None:
        """Only the owner may start a server; whoever else comes joins, or becomes the owner when that one dies."""
        while time.monotonic() < deadline:
            self._owner = self._owner or try_lock(self._dir / "owner.lock", "ab")
            if (self._owner is not None and self._start_own(deadline)) or self._join():
                return
            time.sleep(0.02)
        raise QueueUnavailable(f"another queue server holds {self._dir} but does not answer; see {self._log_path}")

    def _disown(self) -> None:
        if self._owner is not None:
            self._owner.close()
        self._owner = None

    def _start_own(self, deadline: float) -> bool:
        """False when somebody else's server holds the directory."""
        lock = try_lock(self._dir / "server.lock", "ab")
        if lock is None:
            return False
        if self._process is not None:
            self._process.wait()  # ours of before: dead, or it would hold the lock
        with lock:
            url, lines = self._config()
            binary = find_server_binary(self._wrote())
            process = self._spawn(binary.path, lines, lock.fileno())
        self._process = process
        self._await_ready(process, url, deadline)
        _write_private(self._record_path, json.dumps({"url": url, "pid": process.pid, "wrote": binary.kind}))
        self._url = url
        return True

    def _spawn(self, binary: Path, lines: list[str], lock_fd: int) -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as config:
            config.write("\n".join(lines).encode())
            config.seek(0)
            # Its own session: a Ctrl-C in the terminal must reach the workers, which drain first, and not the server.
            return subprocess.Popen(  # noqa: S603
                [str(binary), "-"],
                stdin=config,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock_fd,),
                start_new_session=True,
            )

    def _join(self) -> bool:
        """True when the recorded server answers."""
        url = self._recorded("url")
        if url is None or _pid_answering(url) is None:
            return False
        self._url = url
        return True

    def _await_ready(self, process: subprocess.Popen[bytes], url: str, deadline: float) -> None:
        while time.monotonic() < deadline:
            # The pid tells our server from a stranger that took the port meanwhile.
            if _pid_answering(url) == process.pid:
                return
            if process.poll() is not None:
                break
            time.sleep(0.01)
        self._terminate(process)
        raise QueueUnavailable(f"the embedded queue server did not start: {self._last_words()}")

    def _config(self) -> tuple[str, list[str]]:
        """URL and configuration lines; they travel by stdin so that no password shows in the process list."""
        lines = [
            f"dir {_quoted(self._dir)}",
            f"logfile {_quoted(self._log_path)}",
            "daemonize no",
            "appendonly yes",
            "appendfsync always",
            'save ""',
            "maxmemory-policy noeviction",
            f"maxmemory {self._memory_bytes}",
        ]
        path = self._dir / "queue.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return f"unix://{quote(str(path))}?db=0", [
                *lines,
                "port 0",
                f"unixsocket {_quoted(path)}",
                "unixsocketperm 700",
            ]
        port, password = self._address()
        listen = ["bind 127.0.0.1", f"port {port}", f"requirepass {password}"]
        return f"redis://:{password}@127.0.0.1:{port}/0", [*lines, *listen]

    def _recorded(self, what: str) -> str | None:
        """What the record of the last server says: its url, or the kind that wrote the data."""
        try:
            record: dict[str, Any] = json.loads(self._record_path.read_text("utf-8"))
            return str(record[what])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _wrote(self) -> str | None:
        """The kind of server that wrote the data, if there is any and it is known."""
        kind = self._recorded("wrote") or ""
        return kind if (self._dir / "appendonlydir").is_dir() and re.fullmatch(r"[a-z]+ \d+", kind) else None

    def _address(self) -> tuple[int, str]:
        """Port and password; the last ones where possible, so that clients find a restarted server again."""
        before = urlsplit(self._recorded("url") or "")
        if before.scheme == "redis" and before.port and before.password and _is_free(before.port):
            return before.port, before.password
        return _free_port(), secrets.token_urlsafe(24)

    def _terminate(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            log.warning("queue_server_killed", pid=process.pid)
            process.kill()
            process.wait()

    def _shut_down(self, url: str) -> None:
        """Stops an adopted server, which is not our child."""
        client = connect(url)
        try:
            client.shutdown()
        except (redis.exceptions.RedisError, OSError) as error:
            log.warning("queue_server_not_stopped", error=str(error))
        finally:
            client.close()
        deadline = time.monotonic() + self._stop_timeout_s
        while (lock := try_lock(self._dir / "server.lock", "ab")) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if lock is not None:
            lock.close()

    def _last_words(self) -> str:
        try:
            return " | ".join(self._log_path.read_text("utf-8", "replace").splitlines()[-3:])
        except OSError:
            return "it left no log"


def _pid_answering(url: str) -> int | None:
    client = connect(url)
    try:
        return int(client.info("server")["process_id"])
    except (*OUTAGES, redis.exceptions.ResponseError):
        return None
    finally:
        client.close()


def _write_private(path: Path, text: str) -> None:
    """Replaces the file in one step; readable by its owner alone."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
