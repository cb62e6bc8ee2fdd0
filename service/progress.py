"""How far work of several pieces has come."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Told what is done, and of how much; it may raise, to end the work."""


def pieces(progress: Progress | None, work: Sequence[T]) -> Iterator[tuple[T, Progress | None]]:
    """Each piece of work with what it tells its own progress to; all count alike."""
    for i, piece in enumerate(work):
        yield piece, progress and _of_all(progress, i, len(work))


def _of_all(progress: Progress, i: int, pieces: int) -> Progress:
    return lambda done, total: progress(i * total + done, pieces * total)
