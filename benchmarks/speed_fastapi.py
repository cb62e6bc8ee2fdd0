"""The solve behind plain FastAPI, a thread a request: ``python -m benchmarks.speed_fastapi PORT MODEL``."""

import sys
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, Response

from service.inference import Inference, SolveSpec
from service.responses import dump_json
from service.settings import CHECKPOINTS


class Solver:
    """What the peers wrap: observations (B, m) in, x and diagnostics of every row out, as `Inference` gives them.

    Their answers are written by orjson, as ours are: left to FastAPI, 200 numbers take longer than the solve.
    """

    def __init__(self, model: str) -> None:
        torch.set_num_threads(1)
        self.inference = Inference(CHECKPOINTS, "cpu")
        self.spec = SolveSpec(model, self.inference.manifest(model).version, ("auto",))

    def __call__(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """x and diagnostics of every row."""
        (answer,) = self.inference.solve(self.spec, rows)
        pairs = zip(answer.x, answer.items, strict=True)
        return [{"x": x, "diagnostics": item["diagnostics"]} for x, item in pairs]


def written(answers: list[dict[str, Any]]) -> Response:
    """Answers as JSON."""
    return Response(dump_json(answers), media_type="application/json")


def app(model: str) -> FastAPI:
    """A synchronous route: FastAPI runs it in a thread."""
    served, solver = FastAPI(), Solver(model)

    @served.post("/predict")
    def predict(body: dict[str, Any]) -> Response:
        return written(solver(np.array(body["observations"])))

    @served.get("/health")
    def health() -> str:
        return "ok"

    return served


if __name__ == "__main__":
    uvicorn.run(app(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
