"""A handler for tests only: it solves like the product's, and some observations hurt it. ``python -m`` attends with it.

The first value of an observation says what happens: DIE ends the process, HANG never returns, EAT asks for more memory
than there is. Every other observation is solved.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from service.arrays import decode_npy
from service.handler import SolveHandler
from service.inference import Inference
from service.quarantine import attend
from service.queue.batching import Outcome
from service.settings import load_settings

DIE, HANG, EAT = 1001.0, 1002.0, 1003.0


class Hurtful(SolveHandler):
    """Notes the deaths that it causes in ``deaths.log`` of its folder."""

    def __init__(self, inference: Inference, folder: Path) -> None:
        super().__init__(inference)
        self.folder = folder

    def __call__(self, spec: str, payloads: Sequence[bytes]) -> Sequence[Outcome]:
        for payload in payloads:
            for first in decode_npy(payload)[:, 0]:
                self._hurt(float(first))
        return super().__call__(spec, payloads)

    def _hurt(self, first: float) -> None:
        if first in (DIE, HANG):
            with (self.folder / "deaths.log").open("ab", buffering=0) as log:
                log.write(b"%d\n" % os.getpid())
        if first == DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        while first == HANG:
            pass
        if first == EAT:
            np.zeros(1 << 55, np.uint8)


def main() -> None:
    torch.set_num_threads(1)
    inference = Inference(load_settings().checkpoints, "cpu")
    inference.warm()
    attend(int(sys.argv[2]), Hurtful(inference, Path(sys.argv[1])))


if __name__ == "__main__":
    main()
