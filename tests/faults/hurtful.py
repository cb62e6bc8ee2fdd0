"""A handler for tests only: it works like the product's, and some items hurt it.

The first value of an observation says what happens: DIE ends the process, HANG never returns, EAT asks for more memory
than there is. Every other observation is solved. A picture whose first pixel is BLINDING ends the process, too.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.deblurring.spec import is_deblur
from service.deblurring.work import Deblurring
from service.handler import WorkHandler
from service.inference import Inference

DIE, HANG, EAT = 1001.0, 1002.0, 1003.0
BLINDING = 1.375


class Hurtful(WorkHandler):
    """Notes the deaths that it causes in ``deaths.log`` of its folder."""

    def __init__(self, inference: Inference, deblurring: Deblurring, folder: Path) -> None:
        super().__init__(inference, deblurring)
        self.folder = folder

    def solve(self, spec: str, decoded: Sequence[Any]) -> Any:
        for one in decoded:
            if is_deblur(spec):
                self._hurt(DIE if one[1][0, 0] == BLINDING else 0.0)
                continue
            for first in one[:, 0]:
                self._hurt(float(first))
        return super().solve(spec, decoded)

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
