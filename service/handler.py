"""The worker's work: decode the chunks, solve them as one batch, encode each chunk's part of the answer."""

from collections.abc import Callable, Sequence

import numpy as np

from service.arrays import decode_npy, encode_npy
from service.deblurring.handler import DeblurHandler
from service.deblurring.spec import is_deblur
from service.deblurring.work import Deblurring
from service.errors import SolveFailed
from service.inference import Inference, SolveSpec
from service.queue.batching import Abandoned, Outcome
from service.results import join_outcomes, split_answers
from solvers.solve import Progress


class WorkHandler:
    """What a worker does with a batch, by the kind of its spec.

    ``wanted`` is asked between iterations; once it says no, the batch is given up (Abandoned).
    """

    def __init__(self, inference: Inference, deblurring: Deblurring, wanted: Callable[[], bool] = lambda: True) -> None:
        def go_on(_done: int, _total: int) -> None:
            if not wanted():
                raise Abandoned("nobody waits for this batch any more")

        self._solve = SolveHandler(inference, go_on)
        self._deblur = DeblurHandler(deblurring, go_on)

    def __call__(self, spec: str, payloads: Sequence[bytes]) -> Sequence[Outcome]:
        return (self._deblur if is_deblur(spec) else self._solve)(spec, payloads)

    def split(self, spec: str, payload: bytes) -> Sequence[bytes]:
        """Each observation as a payload of its own; a picture stays whole."""
        return [payload] if is_deblur(spec) else self._solve.split(spec, payload)

    def join(self, spec: str, answers: Sequence[Outcome | str]) -> Outcome:
        """A payload's outcome from those of its parts; a str says why one has none. Raises SolveFailed."""
        if not is_deblur(spec):
            return self._solve.join(spec, answers)
        [answer] = answers
        if isinstance(answer, str):
            raise SolveFailed(answer)
        return answer


class SolveHandler:
    """A queue handler around an Inference; every payload is the npy bytes of observations (b, m)."""

    def __init__(self, inference: Inference, progress: Progress | None = None) -> None:
        self.inference, self._progress = inference, progress

    def __call__(self, spec: str, payloads: Sequence[bytes]) -> Sequence[Outcome]:
        blocks = [decode_npy(payload, "payload") for payload in payloads]
        parsed = SolveSpec.from_json(spec)
        answers = self.inference.solve(parsed, np.concatenate(blocks), self._progress)
        engine = self.inference.engine_of(parsed.model, parsed.version)
        return split_answers(answers, [len(block) for block in blocks], self.inference.device, engine)

    def split(self, spec: str, payload: bytes) -> Sequence[bytes]:
        """Each observation as a payload of its own."""
        block = decode_npy(payload, "payload")
        return [encode_npy(block[i : i + 1]) for i in range(len(block))]

    def join(self, spec: str, answers: Sequence[Outcome | str]) -> Outcome:
        """A payload's outcome from those of its observations; a str says why one has none. Raises SolveFailed."""
        return join_outcomes(answers, len(SolveSpec.from_json(spec).methods))
