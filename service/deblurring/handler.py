"""The worker's part: each payload a channel."""

from collections.abc import Sequence

import numpy as np

from service.arrays import encode_npy
from service.deblurring.spec import DeblurSpec, unpack
from service.deblurring.work import Deblurring, Restored
from service.parts import ITEMS, META, X_PART
from service.progress import Progress, pieces
from service.queue.batching import Outcome, Staged
from service.responses import dump_json
from service.results import Notes


class DeblurHandler(Staged):
    """A queue handler around a Deblurring."""

    def __init__(self, deblurring: Deblurring, progress: Progress | None = None) -> None:
        self.deblurring, self._progress = deblurring, progress

    def decode(self, spec: str, payload: bytes) -> tuple[np.ndarray, np.ndarray]:
        return unpack(payload)

    def solve(self, spec: str, decoded: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Restored]:
        parsed = DeblurSpec.from_json(spec)
        each = pieces(self._progress, decoded)
        return [self.deblurring.restore(parsed, kernel, pixels, told) for (kernel, pixels), told in each]

    def encode(self, spec: str, solved: Sequence[Restored]) -> Sequence[Outcome]:
        return [_outcome(restored, self.deblurring) for restored in solved]


def _outcome(restored: Restored, by: Deblurring) -> Outcome:
    """What is stored of a channel, in the parts that every result has."""
    meta = {
        "device": by.device,
        "engine": restored.engine,
        "solve_s": restored.solve_s,
        "diagnose_s": restored.diagnose_s,
    }
    parts = {X_PART: encode_npy(restored.x), ITEMS: dump_json(restored.item), META: dump_json(meta)}
    return Outcome(parts, 0, Notes([[restored.item]], restored.solve_s, restored.diagnose_s))
