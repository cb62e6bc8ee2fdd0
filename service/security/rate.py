"""How often one key may ask: a token bucket each, in this process."""

import time
from collections.abc import Callable

from service.errors import RateLimited


class Buckets:
    """A bucket per name: it holds `burst` tokens, and `per_s` come back each second. `per_s` 0: no limit."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, float(burst), clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when that was; as many as there are keys

    def take(self, name: str) -> None:
        """Raises RateLimited when the bucket is empty."""
        if self._per_s == 0:
            return
        now = self._clock()
        left, at = self._buckets.get(name, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_s)
        if left < 1:
            self._buckets[name] = (left, now)
            wait_s = (1 - left) / self._per_s
            raise RateLimited(f"this API key may ask {self._per_s:g} times a second; slow down", retry_after_s=wait_s)
        self._buckets[name] = (left - 1, now)
