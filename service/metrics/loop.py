"""Whether the API's event loop keeps turning: one long step of it holds up every request at once."""

import asyncio
import time

from prometheus_client import CollectorRegistry, Histogram

EVERY_S = 0.05
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopWatch:
    """Looks at the event loop every EVERY_S seconds: how late it comes, and how long it worked in between.

    Late is what requests feel, whatever the reason, a busy machine included. Work is CPU time of the loop's own thread:
    beyond the interval itself it is a step that belongs into a thread, or into a worker.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.late = Histogram(
            "deceptron_event_loop_late_seconds", "Seconds a timer fired late.", buckets=_SECONDS, registry=registry
        )
        self.worked = Histogram(
            "deceptron_event_loop_work_seconds",
            "CPU seconds of the event loop between two looks.",
            buckets=_SECONDS,
            registry=registry,
        )

    async def run(self) -> None:
        """Until canceled."""
        loop = asyncio.get_running_loop()
        while True:
            due, worked = loop.time() + EVERY_S, time.thread_time()
            await asyncio.sleep(EVERY_S)
            self.late.observe(max(0.0, loop.time() - due))
            self.worked.observe(time.thread_time() - worked)
