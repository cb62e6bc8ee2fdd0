"""The faults, each struck a number of times at a stand under load."""

import random
import threading
import time
from collections.abc import Callable, Iterator

from service.queue.keys import GROUP, Keys
from tests.faults.report import Phase
from tests.faults.stand import Stand, ready, wait_for

OPEN_AT_ONCE = 5  # more, and a slow machine does nothing but run again what was killed


class Recoveries:
    """Watches what killed workers held, until all of it has been booked by others."""

    def __init__(self, here: Stand, phase: Phase) -> None:
        self._client = here.server.client()
        self._phase = phase
        self._stream = Keys().stream
        self._lost: list[tuple[float, list[str]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Recoveries":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def open(self) -> int:
        """How many kills have not been recovered from."""
        return len(self._lost)

    def killed(self, pid: int) -> None:
        """Notes what a worker that is dead now holds."""
        names = [one["name"].decode() for one in self._client.xinfo_consumers(self._stream, GROUP)]
        entries: list[str] = []
        for name in (name for name in names if f"-{pid}-" in name):
            held = self._client.xpending_range(self._stream, GROUP, "-", "+", 1000, consumername=name)
            entries += [one["message_id"].decode() for one in held]
        self._lost.append((time.monotonic(), entries))

    def _watch(self) -> None:
        while self._lost or not self._stop.is_set():
            for since, entries in list(self._lost):
                if not any(self._client.xrange(self._stream, one, one) for one in entries):
                    self._phase.recovery_s.append(time.monotonic() - since)
                    self._lost.remove((since, entries))
            time.sleep(0.1)


Strike = Callable[[Stand, Phase, int, random.Random], None]


def worker_kills(here: Stand, phase: Phase, count: int, choice: random.Random) -> None:
    with Recoveries(here, phase) as recoveries:
        while phase.mid_batch < count:
            wait_for(lambda: recoveries.open() < OPEN_AT_ONCE, 300)
            victim = here.busy_worker(choice, 120)
            phase.mid_batch += here.kill_worker(victim)
            phase.faults += 1
            recoveries.killed(victim)
            time.sleep(choice.uniform(0.0, 2 * here.pace_s))


def machine_deaths(here: Stand, phase: Phase, count: int, choice: random.Random) -> None:
    """Workers whose death nobody near them can see: what they held comes back when their lease has run out."""
    with Recoveries(here, phase) as recoveries:
        for _ in range(count):
            victim = here.start_worker("afar")
            wait_for(lambda victim=victim: here.runs(victim), 120)  # type: ignore[misc]
            here.stop_worker(victim)
            recoveries.killed(victim)
            phase.faults += 1
            wait_for(lambda: not recoveries.open(), 300)


def server_kills(here: Stand, phase: Phase, count: int, choice: random.Random) -> None:
    for _ in range(count):
        time.sleep(choice.uniform(0.2, 0.2 + 2 * here.pace_s))
        here.server.kill()
        killed = time.monotonic()
        wait_for(lambda: ready(here.url) == 503)
        here.server.start()
        wait_for(lambda: ready(here.url) == 200)
        phase.recovery_s.append(time.monotonic() - killed)
        phase.faults += 1


def network_faults(here: Stand, phase: Phase, count: int, choice: random.Random) -> None:
    kinds = list(_network(here, choice))
    for number in range(count):
        kinds[number % len(kinds)]()
        phase.faults += 1
        time.sleep(choice.uniform(0.2, 0.2 + here.pace_s))


def _network(here: Stand, choice: random.Random) -> Iterator[Callable[[], None]]:
    """The kinds of fault, each a call that returns when the network is whole again."""

    def lasting(switch: Callable[[bool], None]) -> None:
        switch(True)
        time.sleep(choice.uniform(0.5, 0.5 + 2 * here.pace_s))
        switch(False)

    def late(side: Callable[[float], None]) -> None:
        side(0.2)
        time.sleep(here.pace_s)
        side(0.0)

    for side in (here.worker_side, here.api_side):
        yield side.cut
        yield lambda side=side: side.truncate(2)  # type: ignore[misc]
        yield lambda side=side: lasting(side.partition)  # type: ignore[misc]
        yield lambda side=side: lasting(side.hold)  # type: ignore[misc]
        yield lambda side=side: late(side.delay)  # type: ignore[misc]
    yield lambda: lasting(here.server.stall)


def drains(here: Stand, phase: Phase, count: int, choice: random.Random) -> None:
    for _ in range(count):
        stopped = time.monotonic()
        here.drain_worker(here.busy_worker(choice, 120))
        phase.recovery_s.append(time.monotonic() - stopped)
        phase.faults += 1
        time.sleep(choice.uniform(0.0, here.pace_s))


def api_kills(here: Stand, phase: Phase, count: int, choice: random.Random) -> None:
    for _ in range(count):
        time.sleep(choice.uniform(0.2, 0.2 + here.pace_s))
        killed = time.monotonic()
        here.kill_api()
        wait_for(lambda: ready(here.url) == 200)
        phase.recovery_s.append(time.monotonic() - killed)
        phase.faults += 1


STRIKES: dict[str, Strike] = {
    "worker_kills": worker_kills,
    "machine_deaths": machine_deaths,
    "server_kills": server_kills,
    "network_faults": network_faults,
    "drains": drains,
    "api_kills": api_kills,
}
