"""Items that may be poison run in a process apart: what ends it, or never ends in it, costs nobody else an answer."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import orjson
import structlog

from service.apart import Apart
from service.errors import SolveFailed
from service.process import time_limit
from service.queue.batching import Abandoned, Handler, Outcome, Staged

START_S = 300.0  # torch and the models are loaded first
KEPT_S = 30.0
MOST_DEATHS = 8
LOOK_S = 0.5  # how often it is asked whether anybody still waits
GONE_S = 5.0  # a process whose line is cut is about to be gone
ORPHAN_S = 5.0  # how far beyond the limit a process goes that nobody watches any more
Answer = Outcome | str
Starter = Callable[[], Apart]

log = structlog.get_logger(__name__)


class Divisible(Handler, Protocol):
    """A handler whose payloads can be taken apart, and whose answers can be put together again."""

    def split(self, spec: str, payload: bytes) -> Sequence[bytes]:
        """The payload's items, each a payload of its own; the payload itself when it cannot be divided."""
        ...

    def join(self, spec: str, answers: Sequence[Answer]) -> Outcome:
        """The payload's outcome from those of its items; a str says why an item has none. Raises SolveFailed."""
        ...


class TimeLimited(Staged):
    """A handler whose steps end in time, or end the process: the chunks go to others then, each alone."""

    def __init__(self, handler: Staged, limit_s: float) -> None:
        self._handler, self._limit_s = handler, limit_s

    def decode(self, spec: str, payload: bytes) -> Any:
        with time_limit(self._limit_s):
            return self._handler.decode(spec, payload)

    def solve(self, spec: str, decoded: Sequence[Any]) -> Any:
        with time_limit(self._limit_s):
            return self._handler.solve(spec, decoded)

    def encode(self, spec: str, solved: Any) -> Sequence[Outcome]:
        with time_limit(self._limit_s):
            return self._handler.encode(spec, solved)


class Rescue:
    """Runs a chunk that failed whoever ran it: in quarantine, and item by item if need be. Only the guilty fail."""

    def __init__(self, quarantine: "Quarantine", handler: Divisible) -> None:
        self._quarantine, self._handler = quarantine, handler

    def __call__(self, spec: str, payload: bytes, error: Exception | None) -> Outcome:
        """The chunk's outcome. error: what the handler raised; None when its process died.

        Raises that error again where there is nothing to divide, SolveFailed when no item gave an answer.
        """
        items = self._handler.split(spec, payload)
        if error is not None and len(items) == 1:
            raise error
        try:
            return self._in_quarantine(spec, payload, items, raised=error is not None)
        except QuarantineUnavailable:
            log.exception("no_quarantine")
        if error is not None:
            raise error
        with time_limit(self._quarantine.limit_s):  # at its own risk: its attempts are counted
            [outcome] = self._handler(spec, [payload])
        return outcome

    def _in_quarantine(self, spec: str, payload: bytes, items: Sequence[bytes], raised: bool) -> Outcome:
        """As a whole where that succeeds, since its workers may just have had bad luck; else item by item."""
        if not raised:
            [whole] = self._quarantine.run(spec, [payload])
            if isinstance(whole, Outcome):
                return whole
            if len(items) == 1:
                return self._handler.join(spec, [whole])
        return self._handler.join(spec, self._quarantine.run(spec, items))


class QuarantineUnavailable(SolveFailed):
    """The process apart could not be started."""


class Quarantine:
    """Runs payloads one by one in a child process, started when needed, again after each death, and kept for a while.

    start: gives a process that calls `attend` on its end of the line; raises OSError when there can be none.
    limit_s: how long one payload may take.
    wanted: whether anybody still waits; raises Abandoned soon after it says no.
    """

    def __init__(self, start: Starter, limit_s: float, wanted: Callable[[], bool] = lambda: True) -> None:
        self._start, self.limit_s, self._wanted = start, limit_s, wanted
        self._child: _Child | None = None
        self._lock = threading.Lock()
        self._used_at = 0.0

    def run(self, spec: str, payloads: Sequence[bytes]) -> list[Answer]:
        """An outcome for each payload, or why it has none. Raises QuarantineUnavailable."""
        answers: list[Answer] = []
        deaths = 0
        with self._lock:
            for payload in payloads:
                if deaths == MOST_DEATHS:
                    answers.append(f"not tried: {MOST_DEATHS} other items of its chunk ended the process that ran them")
                    continue
                answers.append(self._ask(spec, payload))
                if self._child is None:
                    log.warning("quarantined_item_failed", reason=answers[-1])
                    deaths += 1
        self._end_later()
        return answers

    def _ask(self, spec: str, payload: bytes) -> Answer:
        child = self._child = self._child or _Child(self._start)
        try:
            return child.ask(spec, payload, self.limit_s, self._wanted)
        finally:
            if child.ended:
                self._child = None

    def end(self) -> None:
        """Ends the child, if there is one."""
        with self._lock:
            if self._child is not None:
                self._child.end()
            self._child = None

    def _end_later(self) -> None:
        """A second torch is not kept in memory for ever."""
        self._used_at = time.monotonic()
        timer = threading.Timer(KEPT_S, self._end_if_unused, (self._used_at,))
        timer.daemon = True
        timer.start()

    def _end_if_unused(self, used_at: float) -> None:
        if self._used_at == used_at:
            self.end()


class _Child:
    """The process, and what is said on the line to it. Bytes only go over it, nothing is unpickled."""

    def __init__(self, start: Starter) -> None:
        try:
            self._apart = start()
        except OSError as error:
            raise QuarantineUnavailable(f"the process apart could not be started: {error}") from error
        self._line = self._apart.line
        self.ended = False
        try:
            started = self._line.poll(START_S) and self._line.recv_bytes()
        except (OSError, EOFError):
            started = False
        if not started:
            self.end()
            raise QuarantineUnavailable("the process apart, for suspect items, could not be started")

    def ask(self, spec: str, payload: bytes, limit_s: float, wanted: Callable[[], bool]) -> Answer:
        """The outcome, or why there is none; `ended` says whether that cost the process its life."""
        try:
            self._line.send_bytes(orjson.dumps([spec, limit_s]))
            self._line.send_bytes(payload)
            if not self._answers_within(limit_s, wanted):
                self.end()
                return f"given up: it took longer than {limit_s:g} s, alone in a process"
            told = orjson.loads(self._line.recv_bytes())
            parts = {name: self._line.recv_bytes() for name in told["parts"]}
        except (OSError, EOFError):
            return self._obituary()
        return Outcome(parts, told["failed"]) if parts else str(told["error"])

    def _answers_within(self, limit_s: float, wanted: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + limit_s
        while not self._line.poll(min(LOOK_S, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                return False
            if not wanted():
                self.end()
                raise Abandoned("nobody waits for what runs in quarantine any more")
        return True

    def end(self, grace_s: float = 0.0) -> int:
        """Ends the process, however busy it is; its exit code."""
        self.ended = True
        self._line.close()
        return self._apart.end(grace_s)

    def _obituary(self) -> str:
        code = self.end(GONE_S)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"given up: it ended the process that ran it ({how}), also when it was alone"


def attend(fd: int, handler: Handler) -> None:
    """The child's side: runs what it is given until the other end hangs up."""
    with suppress(OSError):  # where the kernel must choose whom to kill for memory, this process is first
        Path("/proc/self/oom_score_adj").write_text("1000")
    line = Connection(fd)
    line.send_bytes(b"ready")
    with suppress(EOFError, OSError):
        while True:
            spec, limit_s = orjson.loads(line.recv_bytes())
            payload = line.recv_bytes()
            with time_limit(limit_s + ORPHAN_S):
                failed, parts, error = _outcome(handler, spec, payload)
            line.send_bytes(orjson.dumps({"failed": failed, "parts": list(parts), "error": error}))
            for value in parts.values():
                line.send_bytes(value)


def _outcome(handler: Handler, spec: str, payload: bytes) -> tuple[int, Mapping[str, bytes], str]:
    try:
        [outcome] = handler(spec, [payload])
    except Exception as error:
        return 1, {}, f"{type(error).__name__}: {error}"[:300]
    return outcome.failed, outcome.parts, ""
