"""`deceptron serve`: the queue server, the API and the workers as one command, kept alive and stopped in order."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx
import structlog

from service.errors import QueueUnavailable, ServiceError
from service.process import EXIT_CONFIG, on_stop_signals
from service.queue.embedded import EmbeddedServer
from service.security.policy import access_policy
from service.settings import Settings, to_env

TICK_S = 0.1
FIRST_BACKOFF_S, LONGEST_BACKOFF_S, HEALTHY_AFTER_S = 0.2, 15.0, 30.0
SERVER_CHECK_S = 2.0
PATIENCE_S = 20.0
OnReady = Callable[[str], bool]  # given the URL, says whether to go on serving
log = structlog.get_logger(__name__)


class ServeError(ServiceError):
    """The service cannot start; the text says why in one line."""

    title = "Cannot serve"


class Child:
    """One process that should be running: started, watched, started again after a growing pause."""

    def __init__(self, name: str, command: Sequence[str], fds: Sequence[int] = ()) -> None:
        self.name, self.command, self.fds = name, list(command), tuple(fds)
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.failures = 0
        self.start_at = 0.0

    def tend(self, env: dict[str, str]) -> None:
        """Start it if it should run and does not. Raises ServeError when it says that a restart is pointless."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            self._note_exit(self.process.returncode, now)
        if self.process is None and now >= self.start_at:
            # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops all in order.
            self.process = subprocess.Popen(  # noqa: S603
                self.command, env=env, pass_fds=self.fds, start_new_session=True, stdin=subprocess.DEVNULL
            )
            self.started = now

    def _note_exit(self, code: int, now: float) -> None:
        self.process = None
        if code == EXIT_CONFIG:
            raise ServeError(f"the {self.name} cannot start here (its own message stands above)")
        self.failures = 0 if now - self.started > HEALTHY_AFTER_S else self.failures + 1
        pause_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** max(0, self.failures - 1))
        self.start_at = now + pause_s
        log.warning("process ended; starting it again", name=self.name, code=code, pause_s=pause_s)

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait_until(self, deadline: float) -> None:
        """Wait for its end until `deadline` (monotonic), then kill it."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("process did not stop in time; killed", name=self.name)
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Runs the children until a signal, or until `on_ready` (called once /health/ready is green) wants no more."""

    def __init__(self, settings: Settings, listening: socket.socket, on_ready: OnReady) -> None:
        self.settings, self.on_ready = settings, on_ready
        port = listening.getsockname()[1]
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"http://{shown}:{port}"
        self.probe_url = f"http://{_reachable(settings.host)}:{port}"
        follow = ["--supervisor", str(os.getpid())]
        python = [sys.executable, "-m", "service.cli"]
        self.api = Child("API", [*python, "api", "--fd", str(listening.fileno()), *follow], [listening.fileno()])
        count = settings.worker_count()
        self.workers = [Child(f"worker {i + 1}", [*python, "worker", *follow]) for i in range(count)]
        self.stopping = False
        self.error: Exception | None = None

    def run(self, server: EmbeddedServer | None) -> None:
        """Until `stop`; ends everything in order, whatever happens."""
        threading.Thread(target=self._announce, name="announce", daemon=True).start()
        try:
            self._watch(server)
        finally:
            self.stopping = True
            self._end()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Ask it to end; safe in a signal handler."""
        self.stopping = True

    def _watch(self, server: EmbeddedServer | None) -> None:
        env = self._env(server)
        check_at = time.monotonic() + SERVER_CHECK_S
        while not self.stopping:
            if server is not None and time.monotonic() >= check_at:
                env = self._revive(server, env)
                check_at = time.monotonic() + SERVER_CHECK_S
            for child in (self.api, *self.workers):
                child.tend(env)
            time.sleep(TICK_S)

    def _revive(self, server: EmbeddedServer, env: dict[str, str]) -> dict[str, str]:
        """Start the queue server again if it died; when it comes back elsewhere the children are restarted."""
        try:
            server.start()
        except QueueUnavailable as error:
            log.warning("queue server is away; trying again", error=str(error))
            return env
        if server.url == env["REDIS_URL"]:
            return env
        for child in (self.api, *self.workers):
            child.signal(signal.SIGTERM)
        return self._env(server)

    def _env(self, server: EmbeddedServer | None) -> dict[str, str]:
        env = {**os.environ, **to_env(self.settings)}
        if server is not None:
            env["REDIS_URL"] = server.url
        return env

    def _announce(self) -> None:
        """Call `on_ready` once /health/ready is green; its error, if it has one, ends the service."""
        late_at = time.monotonic() + PATIENCE_S
        while not self.stopping:
            state = _ready_state(self.probe_url)
            if state is None:
                self._call_on_ready()
                return
            if time.monotonic() > late_at:
                log.warning("not ready yet", state=state)
                late_at = time.monotonic() + PATIENCE_S
            time.sleep(TICK_S)

    def _call_on_ready(self) -> None:
        try:
            self.stopping = not self.on_ready(self.url) or self.stopping
        except Exception as error:  # raised again by run(), in the main thread
            self.error, self.stopping = error, True

    def _end(self) -> None:
        """API first (nothing new comes in), then the workers (they finish what they hold)."""
        for group in ([self.api], self.workers):
            for child in group:
                child.signal(signal.SIGTERM)
            deadline = time.monotonic() + self.settings.drain_s + 1
            for child in group:
                child.wait_until(deadline)


def serve(settings: Settings, on_ready: OnReady) -> None:
    """Run the whole service until a signal, or until `on_ready` wants no more. Raises ServeError, SettingsError."""
    access_policy(settings)  # says in one line here what the API would say later
    with listen(settings.host, settings.port) as listening:
        supervisor = Supervisor(settings, listening, on_ready)
        on_stop_signals(supervisor.stop)  # before the queue server starts, which would outlive us
        with _queue_server(settings) as server:
            supervisor.run(server)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, held for as long as the service runs: an API that restarts never loses its port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServeError(f"cannot listen on {host}: {error.strerror or error}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ServeError(f"cannot listen on {host}:{port}: {error.strerror or error}; try another --port") from None
    return listening


@contextmanager
def _queue_server(settings: Settings) -> Iterator[EmbeddedServer | None]:
    """The embedded server, or None when REDIS_URL names another."""
    if settings.redis_url:
        yield None
        return
    with EmbeddedServer(settings.state_dir(), memory_bytes=settings.queue_memory_bytes) as server:
        yield server


def _ready_state(url: str) -> str | None:
    """None when ready, else what the service says about itself."""
    try:
        response = httpx.get(f"{url}/health/ready", timeout=2.0, trust_env=False)
    except httpx.TransportError as error:
        return f"no answer yet ({type(error).__name__})"
    return None if response.status_code == 200 else response.text


def _reachable(host: str) -> str:
    """Where this machine reaches an address that is listened on."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
