"""A second thread, for what a worker does while it solves."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Beside(Generic[T]):
    """Does what it is given, in order; begun when it is first needed. It belongs to the thread that gives.

    A daemon: where its owner dies of an error, it must not keep the process.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._tasks: SimpleQueue[Callable[[], Sequence[T]] | None] = SimpleQueue()
        self._answers: SimpleQueue[Sequence[T] | BaseException] = SimpleQueue()
        self._given = 0

    def give(self, task: Callable[[], Sequence[T]]) -> None:
        """Returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._given += 1
        self._tasks.put(task)

    def wait(self) -> list[T]:
        """What all that was given has answered; raises the first error among it, once everything is done."""
        answers = [self._answers.get() for _ in range(self._given)]
        self._given = 0
        found: list[T] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            found += answer
        return found

    def drop(self) -> None:
        """Waits, and forgets what was answered."""
        with suppress(Exception):
            self.wait()

    def close(self) -> None:
        """Ends the thread when it has done what it was given."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._answers.put(task())
            except BaseException as error:
                self._answers.put(error)
