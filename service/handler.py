"""The worker's work: decode the chunks, solve them as one batch, encode each chunk's part of the answer."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from service.arrays import decode_npy, encode_npy
from service.deblurring.handler import DeblurHandler
from service.deblurring.spec import is_deblur
from service.deblurring.work import Deblurring
from service.errors import SolveFailed
from service.inference import Answer, Inference, SolveSpec
from service.queue.batching import Abandoned, Outcome, Staged
from service.results import join_outcomes, split_answers
from solvers.solve import Progress

SOLVING = 0.75  # of a batch's time; the rest goes into judging and writing


class WorkHandler(Staged):
    """What a worker does with a batch, by the kind of its spec.

    ``wanted`` is asked between iterations; once it says no, the batch is given up (Abandoned). ``advance`` is told the
    part of a batch that is done.
    """

    def __init__(
        self,
        inference: Inference,
        deblurring: Deblurring,
        wanted: Callable[[], bool] = lambda: True,
        advance: Callable[[float], None] = lambda part: None,
    ) -> None:
        def go_on(done: int, total: int) -> None:
            if not wanted():
                raise Abandoned("nobody waits for this batch any more")
            advance(SOLVING * done / total)

        self._invert = SolveHandler(inference, go_on)
        self._deblur = DeblurHandler(deblurring, go_on)

    def decode(self, spec: str, payload: bytes) -> Any:
        return self._for(spec).decode(spec, payload)

    def solve(self, spec: str, decoded: Sequence[Any]) -> Any:
        return self._for(spec).solve(spec, decoded)

    def encode(self, spec: str, solved: Any) -> Sequence[Outcome]:
        return self._for(spec).encode(spec, solved)

    def _for(self, spec: str) -> Staged:
        return self._deblur if is_deblur(spec) else self._invert

    def split(self, spec: str, payload: bytes) -> Sequence[bytes]:
        """Each observation as a payload of its own; a picture stays whole."""
        return [payload] if is_deblur(spec) else self._invert.split(spec, payload)

    def join(self, spec: str, answers: Sequence[Outcome | str]) -> Outcome:
        """A payload's outcome from those of its parts; a str says why one has none. Raises SolveFailed."""
        if not is_deblur(spec):
            return self._invert.join(spec, answers)
        [answer] = answers
        if isinstance(answer, str):
            raise SolveFailed(answer)
        return answer


class SolveHandler(Staged):
    """A queue handler around an Inference; every payload is the npy bytes of observations (b, m)."""

    def __init__(self, inference: Inference, progress: Progress | None = None) -> None:
        self.inference, self._progress = inference, progress

    def decode(self, spec: str, payload: bytes) -> np.ndarray:
        return decode_npy(payload, "payload")

    def solve(self, spec: str, decoded: Sequence[np.ndarray]) -> tuple[list[Answer], list[int]]:
        answers = self.inference.solve(SolveSpec.from_json(spec), np.concatenate(decoded), self._progress)
        return answers, [len(block) for block in decoded]

    def encode(self, spec: str, solved: tuple[list[Answer], list[int]]) -> Sequence[Outcome]:
        answers, sizes = solved
        parsed = SolveSpec.from_json(spec)
        engine = self.inference.engine_of(parsed.model, parsed.version)
        return split_answers(answers, sizes, self.inference.device, engine)

    def split(self, spec: str, payload: bytes) -> Sequence[bytes]:
        """Each observation as a payload of its own."""
        block = decode_npy(payload, "payload")
        return [encode_npy(block[i : i + 1]) for i in range(len(block))]

    def join(self, spec: str, answers: Sequence[Outcome | str]) -> Outcome:
        """A payload's outcome from those of its observations; a str says why one has none. Raises SolveFailed."""
        return join_outcomes(answers, len(SolveSpec.from_json(spec).methods))
