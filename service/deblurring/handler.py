"""The worker's part: each payload a channel."""

from collections.abc import Sequence

from service.arrays import encode_npy
from service.deblurring.spec import DeblurSpec, unpack
from service.deblurring.work import Deblurring, Progress, Restored
from service.parts import ITEMS, META, X_PART
from service.queue.worker import Outcome
from service.responses import dump_json
from service.results import Notes


class DeblurHandler:
    """A queue handler around a Deblurring."""

    def __init__(self, deblurring: Deblurring, progress: Progress | None = None) -> None:
        self.deblurring, self._progress = deblurring, progress

    def __call__(self, spec: str, payloads: Sequence[bytes]) -> Sequence[Outcome]:
        parsed = DeblurSpec.from_json(spec)
        return [self._restored(parsed, payload) for payload in payloads]

    def _restored(self, spec: DeblurSpec, payload: bytes) -> Outcome:
        return _outcome(self.deblurring.restore(spec, *unpack(payload), self._progress), self.deblurring)


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
