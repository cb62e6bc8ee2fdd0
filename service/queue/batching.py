"""What a worker holds, and how it is put together into batches."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class WorkerConfig:
    """How a worker takes its work: batches of up to ``batch_items``, gathered for at most ``window_ms``.

    While one is solved the next is taken, if it is full and the last took less than ``overlap_up_to_s`` (0: never).
    """

    batch_items: int = 1024
    window_ms: float = 2.0
    block_ms: int = 1000
    heartbeat_s: float = 2.0
    reclaim_every_s: float = 2.0
    sweep_every_s: float = 10.0
    overlap_up_to_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.block_ms <= 2000:
            raise ValueError("block_ms must be in 1..2000: longer blocks meet the client's socket timeout")
        if self.batch_items < 1 or self.window_ms < 0:
            raise ValueError("batch_items must be positive and window_ms not negative")
        if min(self.heartbeat_s, self.reclaim_every_s, self.sweep_every_s) <= 0:
            raise ValueError("periods must be positive")


@dataclass(frozen=True)
class Outcome:
    """What a handler made of one payload: named parts, and how many of its items carry an error.

    ``notes`` are not stored: they go to the worker's observer once the outcome has been booked.
    """

    parts: Mapping[str, bytes]
    failed: int
    notes: object = None

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("an outcome has at least one part")
        if self.failed < 0:
            raise ValueError("the count of failed items cannot be negative")


class Abandoned(Exception):
    """Raised by a handler that has found out that nobody wants its batch any more: nothing is booked for it."""


class Handler(Protocol):
    """The work itself."""

    def __call__(self, spec: str, payloads: Sequence[bytes]) -> Sequence[Outcome]:
        """One outcome a payload, in order; all payloads share ``spec``. An exception fails the whole group.

        Raises Abandoned.
        """
        ...


@runtime_checkable
class Staged(Handler, Protocol):
    """The work in three steps, so that one batch can be decoded and another encoded while a third is solved.

    ``decode`` and ``encode`` may run in another thread than ``solve``, at the same time.
    """

    def decode(self, spec: str, payload: bytes) -> Any:
        """What ``solve`` takes of one payload."""
        ...

    def solve(self, spec: str, decoded: Sequence[Any]) -> Any:
        """The batch, solved. Raises Abandoned."""
        ...

    def encode(self, spec: str, solved: Any) -> Sequence[Outcome]:
        """One outcome a payload, in order."""
        ...

    def __call__(self, spec: str, payloads: Sequence[bytes]) -> Sequence[Outcome]:
        return self.encode(spec, self.solve(spec, [self.decode(spec, payload) for payload in payloads]))


class InOneStep(Staged):
    """A handler that does all its work in ``solve``."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def decode(self, spec: str, payload: bytes) -> bytes:
        return payload

    def solve(self, spec: str, decoded: Sequence[bytes]) -> Sequence[Outcome]:
        return self._handler(spec, decoded)

    def encode(self, spec: str, solved: Sequence[Outcome]) -> Sequence[Outcome]:
        return solved


class Rescuer(Protocol):
    """The last resort for a chunk that failed alone."""

    def __call__(self, spec: str, payload: bytes, error: Exception | None) -> Outcome:
        """The chunk's outcome, made so that it can hurt nobody; ``error`` is what it raised (None: it died)."""
        ...


@dataclass(frozen=True)
class Entry:
    """A stream entry: ids only. ``trace`` is the W3C traceparent of the request it came with, or ''."""

    id: str
    chunk: str
    spec: str
    items: int
    trace: str = ""

    @property
    def queued_at(self) -> float:
        """When it was queued (unix seconds): its id begins with that millisecond, by the server's clock."""
        return int(self.id.split("-")[0]) / 1000


@dataclass
class Group:
    """Entries to be run as one batch, and, once that is done, their payloads and what was decoded of them, by chunk."""

    entries: list[Entry]
    payloads: dict[str, bytes] = field(default_factory=dict)
    decoded: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A claimed chunk: the attempt's number fences its completion."""

    entry: Entry
    attempt: int
    payload: bytes


@dataclass(frozen=True)
class Done:
    """What is to be booked for a claimed chunk: an outcome, or the reason why there is none."""

    running: Running
    outcome: Outcome | None
    reason: str = ""

    @property
    def is_first(self) -> bool:
        """Whether it is its job's first chunk."""
        return self.running.entry.chunk.endswith(":0")

    def words(self) -> list[str | bytes | int]:
        """The chunk's arguments for complete.lua."""
        parts = self.outcome.parts if self.outcome is not None else {}
        failed = self.outcome.failed if self.outcome is not None else 0
        flat = [word for pair in parts.items() for word in pair]
        return [self.running.entry.chunk, self.running.attempt, failed, self.reason, len(parts), *flat]


@dataclass(frozen=True)
class Finished:
    """A batch that was run: the chunks that were booked, the items of all, when it began, and how long it took."""

    spec: str
    booked: tuple[Done, ...]
    items: int
    began_at: float  # unix seconds
    compute_s: float

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What was made of each chunk."""
        return tuple(done.outcome for done in self.booked if done.outcome is not None)

    @property
    def waited_s(self) -> tuple[float, ...]:
        """How long each chunk had waited."""
        return tuple(max(0.0, self.began_at - done.running.entry.queued_at) for done in self.booked)


class Observer(Protocol):
    """Is told what has happened, after it happened. What it raises is logged and changes nothing.

    Batches are told of one after the other, but not always by the same thread.
    """

    def finished(self, batch: Finished) -> None:
        """A batch was booked."""

    def redelivered(self, chunks: int) -> None:
        """Chunks are run again, whose earlier attempt came to nothing."""

    def poisoned(self, items: int) -> None:
        """Items were given up: their chunk failed alone, or took its worker down too often."""


def parse_entries(raw: Iterable[Sequence[Any]]) -> list[Entry]:
    """Entries as redis-py (fields as a dict) or a script (fields as a flat list) gives them."""
    entries = []
    for entry_id, fields in raw:
        pairs = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
        named = {key.decode(): value.decode() for key, value in pairs.items()}
        words = named["chunk"], named["spec"], int(named["items"]), named.get("trace", "")
        entries.append(Entry(entry_id.decode(), *words))
    return entries


def groups(entries: Iterable[Entry], batch_items: int) -> list[list[Entry]]:
    """Entries of equal spec together, in order of arrival, each group of at most ``batch_items`` items.

    A single entry larger than that is a group of its own.
    """
    closed: list[list[Entry]] = []
    open_groups: dict[str, list[Entry]] = {}
    for entry in entries:
        group = open_groups.setdefault(entry.spec, [])
        if group and sum(e.items for e in group) + entry.items > batch_items:
            closed.append(group)
            group = open_groups[entry.spec] = []
        group.append(entry)
    return closed + list(open_groups.values())
