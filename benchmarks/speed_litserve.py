"""The solve behind LitServe, one worker, batches: ``python -m benchmarks.speed_litserve PORT MODEL``."""

import sys
from typing import Any

import litserve  # type: ignore[import-untyped]
import numpy as np
from fastapi import Response

from benchmarks.speed_fastapi import Solver, written

BATCH, WINDOW_S = 64, 0.002


class Api(litserve.LitAPI):  # type: ignore[misc]
    """LitServe's named steps around the solve. Out here by itself: its worker process must be able to import it."""

    def __init__(self, model: str) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=WINDOW_S)
        self.model = model

    def setup(self, device: str) -> None:
        """Loads the model, in the worker."""
        self.solver = Solver(self.model)

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        """One observation (m,)."""
        return np.array(request["observations"][0])

    def predict(self, rows: list[np.ndarray]) -> list[dict[str, Any]]:
        """All that came together as one batch."""
        return self.solver(np.stack(list(rows)))

    def encode_response(self, output: dict[str, Any]) -> Response:
        """The answer as the other servers give it."""
        return written([output])


if __name__ == "__main__":
    server = litserve.LitServer(Api(sys.argv[2]), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
