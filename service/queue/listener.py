"""One subscription per process that wakes whoever waits for a job."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis.asyncio
import structlog
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)


class Listener:
    """Hears the channel on which scripts publish the ids of changed jobs.

    It is a hint, not the truth: messages sent while the connection is down are lost, so whoever waits must also look
    by itself now and then. After a reconnect everybody is woken once.
    """

    POLL_S = 1.0
    FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0

    def __init__(self, client: redis.asyncio.Redis, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._hearing = asyncio.Event()

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set each time the job may have changed."""
        changed = asyncio.Event()
        self._watchers.setdefault(job_id, set()).add(changed)
        try:
            yield changed
        finally:
            watchers = self._watchers[job_id]
            watchers.discard(changed)
            if not watchers:
                del self._watchers[job_id]

    async def started(self, timeout_s: float) -> None:
        """Starts listening if nobody has; waits until it hears, or until the time is up."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="queue-listener")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hearing.wait(), timeout_s)

    async def close(self) -> None:
        """Ends the subscription; safe to call twice."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        pause_s = self.FIRST_PAUSE_S
        while True:
            try:
                await self._subscription()
            except (RedisError, OSError) as error:
                if self._hearing.is_set():
                    log.warning("queue_events_lost", error=str(error))
                    pause_s = self.FIRST_PAUSE_S
                self._hearing.clear()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self.LONGEST_PAUSE_S)

    async def _subscription(self) -> None:
        """One connection's life; ends by raising."""
        pubsub = self._client.pubsub()
        try:
            await pubsub.subscribe(self._channel)
            while True:
                message = await pubsub.get_message(timeout=self.POLL_S)
                if message is not None:
                    self._heard(message["type"], message["data"])
        finally:
            self._hearing.clear()
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _heard(self, kind: str, data: bytes | int) -> None:
        if kind == "subscribe":
            self._hearing.set()
            for watchers in self._watchers.values():
                _wake(watchers)
        elif isinstance(data, bytes):
            _wake(self._watchers.get(data.decode(), set()))


def _wake(watchers: set[asyncio.Event]) -> None:
    for changed in watchers:
        changed.set()
