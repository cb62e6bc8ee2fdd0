"""The progress bar of long work: shown on a terminal when something takes more than a second."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm

from service.client.types import Job

_WORDS = {"invert": ("inverting", "obs"), "compare": ("comparing", "obs"), "deblur": ("deblurring", "tile")}
"""Kind of job -> what is being done, and what is counted."""


class Watcher(Protocol):
    def __call__(self, job: Job) -> None: ...


@contextmanager
def progress_bar(shown: bool | None) -> Iterator[Watcher]:
    """A callback that moves a bar to where a job is. `shown` None: only on a terminal."""
    disable = None if shown is None else not shown
    with tqdm(desc="waiting", disable=disable, delay=0 if shown else 1, leave=False) as bar:

        def see(job: Job) -> None:
            what, bar.unit = _WORDS.get(job.kind, ("solving", "item"))
            bar.set_description(what, refresh=False)
            bar.total = job.total
            bar.update(job.done - bar.n)

        yield see
