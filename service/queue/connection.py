"""Clients of the queue server, and how its outages are told to the rest of the service."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from service.errors import QueueFull, QueueUnavailable

OUTAGES = (RedisConnectionError, RedisTimeoutError, ReadOnlyError)
# First words of a server that is there and cannot serve: its disk is full, a script hangs, its primary is away.
UNWILLING = ("MISCONF", "BUSY ", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN")
SOCKET_TIMEOUT_S = 10.0
API_SOCKET_TIMEOUT_S = 5.0  # whoever waits for an answer hears soon that there is none
CONNECT_TIMEOUT_S = 3.0
API_CONNECTIONS = 64
POOL_WAIT_S = 30.0  # for a connection that others use: no sign of an outage
RETRY_AFTER_S = 2.0

log = structlog.get_logger(__name__)


def connect(url: str) -> redis.Redis:
    """A blocking client; one immediate retry covers a pooled connection that the server has closed meanwhile.

    A server that is silent is not asked twice.
    """
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """An asyncio client, set like ``connect``; what JobStore is built on. Close it with ``await client.aclose()``.

    Who comes when all connections are in use waits for one: redis-py's own pool refuses, which a crowd of clients
    would be told as an outage.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=API_CONNECTIONS,
        timeout=POOL_WAIT_S,
        protocol=2,
        socket_timeout=API_SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=AsyncRetry(NoBackoff(), 1, (RedisConnectionError,)),
    )
    pool.connection_class = _guarded(pool.connection_class)
    return redis.asyncio.Redis.from_pool(pool)


class _Guard:
    """Of an asyncio connection: uvloop answers a write to what was closed a moment ago by RuntimeError."""

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        try:
            await super().send_packed_command(*args, **options)  # type: ignore[misc]
        except RuntimeError as error:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise RedisConnectionError(f"the connection was lost: {error}") from error


def _guarded(of: type) -> type:
    """The class of connections of a URL's scheme (TCP, TLS, socket file), guarded."""
    return type(f"Guarded{of.__name__}", (_Guard, of), {})


def is_outage(error: Exception) -> bool:
    """Whether the server is away, or there and unable to serve: the same call may succeed later."""
    return isinstance(error, OUTAGES) or (isinstance(error, ResponseError) and str(error).startswith(UNWILLING))


@contextmanager
def outages_told() -> Iterator[None]:
    """Turns what redis-py raises when the server cannot serve into the service's own errors."""
    try:
        yield
    except OUTAGES as error:
        raise QueueUnavailable("the job queue is not reachable at the moment", retry_after_s=RETRY_AFTER_S) from error
    except OutOfMemoryError as error:
        raise QueueFull("the job queue's server is out of memory", retry_after_s=10.0) from error
    except ResponseError as error:
        if not is_outage(error):
            raise
        raise QueueUnavailable("the job queue cannot take this at the moment", retry_after_s=RETRY_AFTER_S) from error


class Outage:
    """Backs off while the server is away, and writes one log line at each end of the outage."""

    FIRST_S, LONGEST_S, STEP_S = 0.05, 2.0, 0.05

    def __init__(self) -> None:
        self._since: float | None = None
        self._pause_s = self.FIRST_S

    def met(self, error: Exception, give_up: Callable[[], bool]) -> None:
        """Notes a failed call and waits; returns early once ``give_up()`` holds."""
        if self._since is None:
            self._since = time.monotonic()
            log.warning("queue_unreachable", error=str(error))
        until = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, self.LONGEST_S)
        while time.monotonic() < until and not give_up():
            time.sleep(self.STEP_S)

    def over(self) -> None:
        """Notes that a call went through."""
        since = self._since  # another thread may note the same
        if since is None:
            return
        self._since, self._pause_s = None, self.FIRST_S
        log.info("queue_reachable_again", away_s=round(time.monotonic() - since, 3))
