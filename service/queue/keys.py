"""Every Redis key name, in one place, for Python and for the Lua scripts alike."""

import hashlib
from dataclasses import dataclass

GROUP = "workers"
_LUA_NAMES = ("stream", "counters", "workers", "channel", "sweeping", "deadlines")
_LUA_KINDS = ("job", "chunk", "payload", "result", "idempotency", "worker", "window", "standing", "answers")


@dataclass(frozen=True)
class Keys:
    """Names of all keys under one prefix; two prefixes on one server never meet."""

    prefix: str = "deceptron:"

    def __post_init__(self) -> None:
        if not self.prefix or any(c in self.prefix for c in "'\\\n"):
            raise ValueError("the key prefix must be non-empty, without quotes, backslashes or line breaks")

    @property
    def stream(self) -> str:
        """Stream of what is waiting or running: one entry a chunk, holding ids only."""
        return f"{self.prefix}chunks"

    @property
    def counters(self) -> str:
        """Hash: items and bytes held by the stream's chunks, and the measured rate in items/s."""
        return f"{self.prefix}counters"

    @property
    def workers(self) -> str:
        """Sorted set of worker ids by the time they were last seen (unix seconds)."""
        return f"{self.prefix}workers"

    @property
    def channel(self) -> str:
        """Pub/sub channel; each message names the jobs that changed (common.lua, tell)."""
        return f"{self.prefix}events"

    def answers(self, waiter: str) -> str:
        """Pub/sub channel of one API process: small jobs it waits for, whole, as they end (complete.lua, send_end)."""
        return f"{self.prefix}answers:{waiter}"

    @property
    def sweeping(self) -> str:
        """When somebody last tidied up (unix seconds)."""
        return f"{self.prefix}sweeping"

    @property
    def deadlines(self) -> str:
        """Sorted set of the ids of unfinished jobs by the time at which they fail (unix seconds)."""
        return f"{self.prefix}deadlines"

    def job(self, job_id: str) -> str:
        """Hash: the job's record."""
        return f"{self.prefix}job:{job_id}"

    def chunk(self, chunk_id: str) -> str:
        """Hash: job, index, state, owner, attempts, items, bytes, entry."""
        return f"{self.prefix}chunk:{chunk_id}"

    def payload(self, chunk_id: str) -> str:
        """String: what the handler is given."""
        return f"{self.prefix}payload:{chunk_id}"

    def result(self, chunk_id: str) -> str:
        """Hash: what the handler gave back, part by part."""
        return f"{self.prefix}result:{chunk_id}"

    def idempotency(self, name: str) -> str:
        """Hash: job and digest of the request that came with this idempotency key."""
        return f"{self.prefix}idempotency:{name}"

    def worker(self, worker_id: str) -> str:
        """Hash: what a worker says of itself; expires when it falls silent."""
        return f"{self.prefix}worker:{worker_id}"

    def window(self, name: str) -> str:
        """List: the last diagnostics of a model, oldest first, a line of text each."""
        return f"{self.prefix}window:{name}"

    def standing(self, name: str) -> str:
        """Hash: state of a model (ok, warning, ...) and since when."""
        return f"{self.prefix}standing:{name}"

    def lua(self) -> str:
        """The same names as Lua locals: STREAM, job_key(id) and so on."""
        lines = [f"local GROUP = '{GROUP}'"]
        lines += [f"local {name.upper()} = '{getattr(self, name)}'" for name in _LUA_NAMES]
        lines += [f"local function {kind}_key(id) return '{getattr(self, kind)('')}' .. id end" for kind in _LUA_KINDS]
        return "\n".join(lines)


def chunk_id(job_id: str, index: int) -> str:
    """Id of a job's chunk; common.lua builds the same."""
    return f"{job_id}:{index}"


def digest(text: str) -> str:
    """Short, fixed-length stand-in for a text of any length (spec, idempotency key)."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
