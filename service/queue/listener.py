"""One subscription per process that wakes whoever waits for a job."""

import asyncio
from collections.abc import Iterable, Iterator
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
        self._watchers: dict[str, set[_Watcher]] = {}
        self.letting_go = False
        self._task: asyncio.Task[None] | None = None
        self._hearing = asyncio.Event()

    @contextmanager
    def watch(self, job_id: str, only_end: bool = False) -> Iterator[asyncio.Event]:
        """An event that is set each time the job may have changed, or only when it may have ended."""
        watcher = _Watcher(only_end)
        self._watchers.setdefault(job_id, set()).add(watcher)
        try:
            yield watcher.changed
        finally:
            watchers = self._watchers[job_id]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[job_id]

    def let_go(self) -> None:
        """Wakes everybody, and says for good that there is no time left to wait."""
        self.letting_go = True
        self._wake_all()

    async def started(self, timeout_s: float) -> None:
        """Starts listening if nobody has; waits until it hears, or until the time is up."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="queue-listener")
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._hearing.wait()

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
            self._wake_all()
        elif isinstance(data, bytes):
            for word in data.decode().split(" "):
                _wake(self._watchers.get(word.removesuffix("!"), ()), word.endswith("!"))

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            _wake(watchers, ended=True)


class _Watcher:
    def __init__(self, only_end: bool) -> None:
        self.changed, self.only_end = asyncio.Event(), only_end


def _wake(watchers: Iterable[_Watcher], ended: bool) -> None:
    for watcher in watchers:
        if ended or not watcher.only_end:
            watcher.changed.set()
