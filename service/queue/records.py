"""What goes into the queue and what it tells: plain frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

# A chunk that never gave a result (poison, handler exception) has these two parts instead of the handler's.
ERROR_PART: Final = "queue:error"
ITEMS_PART: Final = "queue:items"

FINISHED: Final = frozenset({"succeeded", "partial", "failed", "canceled", "expired"})


@dataclass(frozen=True)
class Limits:
    """Bounds and lifetimes; every process of one deployment should use the same."""

    max_queued_items: int = 200_000
    max_queued_bytes: int = 512 * 1024 * 1024
    result_ttl_s: float = 3600.0
    record_ttl_s: float = 90_000.0
    idempotency_ttl_s: float = 86_400.0
    deadline_s: float = 86_400.0
    lease_s: float = 10.0
    max_attempts: int = 3

    def __post_init__(self) -> None:
        if self.max_attempts < 2:
            raise ValueError("max_attempts must be at least 2: only a chunk that ran alone may be called poison")
        if min(self.max_queued_items, self.max_queued_bytes) < 1:
            raise ValueError("the queue's bounds must be positive")
        if min(self.result_ttl_s, self.record_ttl_s, self.idempotency_ttl_s, self.deadline_s, self.lease_s) <= 0:
            raise ValueError("lifetimes and the lease must be positive")


@dataclass(frozen=True)
class Chunk:
    """A part of a job that is run as a whole: opaque payload, and how many items it holds."""

    payload: bytes
    items: int

    def __post_init__(self) -> None:
        if self.items < 1:
            raise ValueError("a chunk holds at least one item")


@dataclass(frozen=True)
class NewJob:
    """A job as it comes in. Chunks of equal ``spec`` may be run as one batch, whatever job they belong to.

    deadline_s: what has no result by then fails; None: the limits' own.
    trace: the W3C traceparent of the request that brings it, or ''.
    """

    kind: str
    model: str
    spec: str
    chunks: tuple[Chunk, ...]
    idempotency_key: str | None
    request_digest: str
    owner: str = ""  # whose it is; idempotency keys of two owners never meet
    deadline_s: float | None = None
    trace: str = ""

    def __post_init__(self) -> None:
        if not self.chunks:
            raise ValueError("a job holds at least one chunk")


@dataclass(frozen=True)
class Submitted:
    """The job that stands for a request; ``created`` is False when an earlier equal request made it."""

    job_id: str
    created: bool


@dataclass(frozen=True)
class JobStatus:
    """A job as seen from outside; ``done`` and ``total`` count items, times are unix seconds; ``spec`` as submitted.

    ``results``: the parts of each chunk, where they came with the news of its end.
    """

    id: str
    kind: str
    model: str
    status: str
    done: int
    total: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    error: str | None
    spec: str
    chunks: int
    results: tuple[Mapping[str, bytes], ...] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_new(cls, job_id: str, new: NewJob, at: float) -> "JobStatus":
        """A job as it is when it is put in."""
        total = sum(chunk.items for chunk in new.chunks)
        return cls(
            job_id, new.kind, new.model, "queued", 0, total, at, None, None, None, None, new.spec, len(new.chunks)
        )

    @property
    def finished(self) -> bool:
        """True once nothing will change any more."""
        return self.status in FINISHED


@dataclass(frozen=True)
class WorkerInfo:
    """A live worker, as it describes itself; ``last_seen`` in unix seconds, ``metrics`` its address to scrape or ''."""

    id: str
    host: str
    pid: int
    device: str
    engine: str
    models: tuple[str, ...]
    last_seen: float
    metrics: str


@dataclass(frozen=True)
class Depth:
    """What is waiting or running; ``oldest_s`` is the age of the oldest of it (0 when there is none)."""

    items: int
    bytes: int
    chunks: int
    oldest_s: float


def parse_job(
    job_id: str, record: Mapping[bytes, bytes], now: float, results: tuple[Mapping[str, bytes], ...] | None = None
) -> JobStatus:
    """A job's status from its hash in Redis; ``now`` is the server's time."""

    def text(name: str) -> str | None:
        value = record.get(name.encode())
        return None if value is None else value.decode()

    def number(name: str) -> float | None:
        value = text(name)
        return None if value is None else float(value)

    expires_at, running = number("expires_at"), record.get(b"status") == b"running"
    partly = sum(int(value) for name, value in record.items() if name.startswith(b"partly:")) if running else 0
    return JobStatus(
        id=job_id,
        kind=text("kind") or "",
        model=text("model") or "",
        status="expired" if expires_at is not None and now >= expires_at else text("status") or "",
        done=int(text("done") or 0) + partly,
        total=int(text("total") or 0),
        created_at=number("created_at") or 0.0,
        started_at=number("started_at"),
        finished_at=number("finished_at"),
        expires_at=expires_at,
        error=text("error"),
        spec=text("spec") or "",
        chunks=int(text("chunks") or 0),
        results=results,
    )


def parse_worker(worker_id: str, info: Mapping[bytes, bytes], last_seen: float) -> WorkerInfo:
    """A worker from its hash in Redis and when it was last seen."""
    facts: dict[str, Any] = {key.decode(): value.decode() for key, value in info.items()}
    models = tuple(name for name in facts.get("models", "").split(",") if name)
    return WorkerInfo(
        id=worker_id,
        host=facts.get("host", ""),
        pid=int(facts.get("pid", 0)),
        device=facts.get("device", ""),
        engine=facts.get("engine", ""),
        models=models,
        last_seen=last_seen,
        metrics=facts.get("metrics", ""),
    )
