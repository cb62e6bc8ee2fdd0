"""Ends connections that go nowhere: a head that never ends, an answer that nobody takes. uvicorn knows no such limit.

A body that is late is answered (408, `service.body`); here there is nobody who would listen.
"""

from collections.abc import Hashable, Iterable
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Patience:
    """Is shown the server's connections every second or so, and closes those that stand still for ``limit_s``."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._seen: dict[Hashable, tuple[Hashable, float]] = {}

    def look(self, connections: Iterable[Any], now: float) -> None:
        """Connections are uvicorn's protocols; ``now`` is of a monotonic clock."""
        before, self._seen = self._seen, {}
        for connection in connections:
            standing = _standing(connection)
            if standing is None:
                continue
            seen, since = before.get(connection, (None, now))
            self._seen[connection] = standing, since if seen == standing else now
            if now - self._seen[connection][1] > self._limit_s:
                log.info("slow_client_dropped", waiting_for=standing[0])
                connection.transport.abort()


def _standing(connection: Any) -> tuple[str, int] | None:
    """What the connection waits for and how much of it is left; None when it is not the client's turn."""
    unsent = connection.transport.get_write_buffer_size()
    if unsent:
        return "the client to read", unsent
    cycle = getattr(connection, "cycle", None)
    between = cycle is None or cycle.response_complete
    if between and connection.timeout_keep_alive_task is None:  # that timer runs between requests, until a byte comes
        return "a request", 0
    return None
