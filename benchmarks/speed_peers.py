"""The same solve behind other servers: ``python -m benchmarks.speed_peers litserve|fastapi PORT MODEL``.

``litserve`` batches as LitServe does; ``fastapi`` is a route that solves in a thread, with no queue and no batches.
Both take {"observations": [[...]]} and give x and the verdicts, the work of `Inference.solve` with full diagnostics.
"""

import sys
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI

from service.inference import Inference, SolveSpec
from service.settings import CHECKPOINTS

BATCH, WINDOW_S = 64, 0.002


class Solver:
    """Loaded once; observations (B, m) in, one answer a row out."""

    def __init__(self, model: str) -> None:
        self.inference = Inference(CHECKPOINTS, "cpu")
        self.spec = SolveSpec(model, 1, ("auto",))

    def __call__(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """x and verdict of every row."""
        (answer,) = self.inference.solve(self.spec, rows)
        pairs = zip(answer.x.tolist(), answer.items, strict=True)
        return [{"x": x, "diagnostics": item["diagnostics"]} for x, item in pairs]


def fastapi_app(model: str) -> FastAPI:
    """A synchronous route: FastAPI runs it in a thread."""
    app, solver = FastAPI(), Solver(model)

    @app.post("/predict")
    def predict(body: dict[str, Any]) -> list[dict[str, Any]]:
        return solver(np.array(body["observations"]))

    @app.get("/health")
    def health() -> str:
        return "ok"

    return app


def run_litserve(model: str, port: int) -> None:
    """LitServe with one worker, batching up to BATCH requests within WINDOW_S."""
    import litserve  # type: ignore[import-untyped]

    class Api(litserve.LitAPI):  # type: ignore[misc]
        def setup(self, device: str) -> None:
            self.solver = Solver(model)

        def decode_request(self, request: dict[str, Any]) -> np.ndarray:
            return np.array(request["observations"][0])

        def predict(self, rows: np.ndarray) -> list[dict[str, Any]]:
            return self.solver(np.stack(list(rows)))

        def encode_response(self, output: dict[str, Any]) -> list[dict[str, Any]]:
            return [output]

    server = litserve.LitServer(Api(max_batch_size=BATCH, batch_timeout=WINDOW_S), accelerator="cpu")
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    peer, port, model = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if peer == "litserve":
        run_litserve(model, port)
    else:
        uvicorn.run(fastapi_app(model), host="127.0.0.1", port=port, log_level="warning")
