"""Load that goes on while faults strike."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable

from tests.faults.load import Accepted, Known, Ledger, Load
from tests.faults.stand import Stand


class Traffic:
    """One thread posts and keeps a backlog, another checks every answer in turn."""

    def __init__(self, here: Stand, known: Known, ledger: Ledger, seed: int) -> None:
        self._posting, self._checking = (Load(here.url, known, ledger, seed + i) for i in range(2))
        self._backlog_items = here.backlog_items
        self._random = random.Random(seed)
        self._open: deque[Accepted] = deque()
        self._open_items = 0
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guard, args=(work,)) for work in (self._post, self._check)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Posts nothing more; returns once everything accepted has been checked."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._posting.close()
        self._checking.close()
        if self._errors:
            raise self._errors[0]

    @property
    def failed(self) -> bool:
        """Whether it has stopped by itself; leaving the block says why."""
        return bool(self._errors)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._errors.append(error)
            self._stop.set()

    def _post(self) -> None:
        while not self._stop.is_set():
            if self._open_items >= self._backlog_items:
                time.sleep(0.01)
                continue
            one = self._posting.submit(self._random.randint(1, 64))
            self._open_items += len(one.rows)
            self._open.append(one)

    def _check(self) -> None:
        while self._open or self._threads[0].is_alive():
            if not self._open:
                time.sleep(0.01)
                continue
            one = self._open[0]
            self._checking.check(one)
            self._open.popleft()
            self._open_items -= len(one.rows)
