"""One subscription per process that wakes whoever waits for a job."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from service.queue.keys import Keys
from service.queue.news import changed_jobs, ended_jobs
from service.queue.records import JobStatus

log = structlog.get_logger(__name__)


class Listener:
    """Hears the channel on which scripts publish the ids of changed jobs, and one of its own, named by ``id``.

    On the latter come the small jobs that this process waits for, whole, as they end. Both are hints, not the truth:
    messages sent while the connection is down are lost, so whoever waits must also look by itself now and then. After
    a reconnect everybody is woken once.
    """

    POLL_S = 1.0
    FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0

    def __init__(self, client: redis.asyncio.Redis, keys: Keys) -> None:
        self._client = client
        self.id = secrets.token_hex(8)
        self._channel, self._answers = keys.channel, keys.answers(self.id)
        self._watchers: dict[str, set[Watcher]] = {}
        self.letting_go = False
        self._task: asyncio.Task[None] | None = None
        self._hearing = asyncio.Event()

    @contextmanager
    def watch(self, job_id: str, only_end: bool = False) -> Iterator["Watcher"]:
        """Hears each time the job may have changed, or only when it may have ended."""
        watcher = Watcher(only_end)
        self._watchers.setdefault(job_id, set()).add(watcher)
        try:
            yield watcher
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
        if self._hearing.is_set():
            return  # each timeout is a timer of the event loop: not for nothing
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
            channels = (self._channel, self._answers)
            await pubsub.subscribe(*channels)
            while True:
                message = await pubsub.get_message(timeout=self.POLL_S)
                if message is None:
                    continue
                if message["type"] == "message":
                    self._heard(message["channel"], message["data"])
                    await asyncio.sleep(0)  # whoever was woken goes first
                elif message["type"] == "subscribe" and message["data"] == len(channels):
                    self._hearing.set()
                    self._wake_all()
        finally:
            self._hearing.clear()
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _heard(self, channel: bytes, data: bytes) -> None:
        if channel == self._channel.encode():
            for job_id, ended in changed_jobs(data):
                for watcher in self._watchers.get(job_id, ()):
                    watcher.wake(ended)
            return
        for status in ended_jobs(data):
            for watcher in self._watchers.get(status.id, ()):
                watcher.wake(True, status)

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.wake(True)


class Watcher:
    """Whoever waits for news of one job."""

    def __init__(self, only_end: bool) -> None:
        self._only_end, self._news = only_end, asyncio.Event()
        self._end: JobStatus | None = None

    def wake(self, ended: bool, end: JobStatus | None = None) -> None:
        """Tells it of a change; of the job as it ended, where that is known."""
        self._end = end or self._end
        if ended or not self._only_end:
            self._news.set()

    async def news(self, timeout_s: float) -> JobStatus | None:
        """Waits for news, or for so long: the job as it ended, where that came along. Else the next look is fresh."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()
        return self._end
