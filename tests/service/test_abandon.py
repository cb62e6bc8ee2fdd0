"""Work that nobody waits for any more stops between two iterations, whatever kind of work it is."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.apart import Apart
from service.arrays import encode_npy
from service.deblurring.networks import Networks
from service.deblurring.spec import DeblurSpec, pack
from service.deblurring.work import Deblurring
from service.demo import make_example
from service.handler import SOLVING, WorkHandler
from service.inference import Inference, SolveSpec
from service.quarantine import Quarantine
from service.queue.batching import Abandoned
from service.settings import CHECKPOINTS


class Waiting:
    """Somebody who goes away after so many questions."""

    def __init__(self, patience: int) -> None:
        self.patience, self.asked = patience, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked <= self.patience


def handler(wanted: Callable[[], bool]) -> WorkHandler:
    return WorkHandler(Inference(CHECKPOINTS, "cpu"), Deblurring(Networks(CHECKPOINTS, "cpu")), wanted)


@pytest.mark.parametrize("method", ["gd", "lm", "lbfgs", "auto"])
def test_a_solve_stops_between_iterations(method: str) -> None:
    spec = SolveSpec("oscillator", 1, (method,), "product", max_iterations=20, tolerance=1e-9).to_json()
    payload = encode_npy(make_example(3).observation[None])
    everybody = Waiting(10**6)
    handler(everybody)(spec, [payload])
    gone = Waiting(1)
    with pytest.raises(Abandoned):
        handler(gone)(spec, [payload])
    assert gone.asked == 2 < everybody.asked


@pytest.mark.parametrize("method", ["dnet", "lm", "gd", "lbfgs", "richardson_lucy"])
def test_a_picture_is_put_down_between_iterations(method: str) -> None:
    version = 1 if method == "dnet" else None
    spec = DeblurSpec(method, "deblur", version, 1e-4, "reflect", 1, None, 24, 24, 1, 8).to_json()
    pixels = np.random.default_rng(0).random((24, 24), np.float32)
    payload = pack(np.full((3, 3), 1 / 9, np.float32), pixels)
    gone = Waiting(1)
    with pytest.raises(Abandoned):
        handler(gone)(spec, [payload])
    assert gone.asked == 2


class Deaf:
    """A process apart that says it is ready, and never anything more."""

    def __init__(self) -> None:
        from multiprocessing import Pipe

        self.line, self.theirs = Pipe()
        self.theirs.send_bytes(b"ready")
        self.ended = False

    def end(self, grace_s: float = 0.0) -> int:
        self.ended = True
        return -9


def test_quarantine_is_given_up_too(tmp_path: Path) -> None:
    started: list[Deaf] = []

    def start() -> Apart:
        started.append(Deaf())
        return started[-1]

    quarantine = Quarantine(start, 300.0, Waiting(1))
    began = time.monotonic()
    with pytest.raises(Abandoned):
        quarantine.run("{}", [b""])
    assert started[0].ended
    assert time.monotonic() - began < 60  # and not the limit's 300
    with pytest.raises(Abandoned):
        quarantine.run("{}", [b""])
    assert len(started) == 2


def test_several_methods_come_to_one_whole() -> None:
    parts: list[float] = []
    work = WorkHandler(
        Inference(CHECKPOINTS, "cpu"), Deblurring(Networks(CHECKPOINTS, "cpu")), lambda: True, parts.append
    )
    spec = SolveSpec("oscillator", 1, ("lm", "gd"), "product", max_iterations=5, tolerance=1e-9).to_json()
    work(spec, [encode_npy(make_example(3).observation[None])])
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0.0, SOLVING / 2), "neither of them came to an end"
