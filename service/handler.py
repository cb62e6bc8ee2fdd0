"""The worker's work: decode the chunks, solve them as one batch, encode each chunk's part of the answer."""

from collections.abc import Sequence

import numpy as np

from service.arrays import decode_npy
from service.inference import Inference, SolveSpec
from service.queue.worker import Outcome
from service.results import split_answers


class SolveHandler:
    """A queue handler around an Inference; every payload is the npy bytes of observations (b, m)."""

    def __init__(self, inference: Inference) -> None:
        self.inference = inference

    def __call__(self, spec: str, payloads: Sequence[bytes]) -> Sequence[Outcome]:
        blocks = [decode_npy(payload, "payload") for payload in payloads]
        answers = self.inference.solve(SolveSpec.from_json(spec), np.concatenate(blocks))
        return split_answers(answers, [len(block) for block in blocks], self.inference.device, self.inference.engine)
