"""What the load sends, to us and to the peers: JSON and npy; and where a request's time went."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.speed_load import Connection, Reply, Send, request
from service.arrays import encode_npy

JSON, NPY = "application/json", "application/x-npy"
WAIT = {"prefer": "wait=30"}


@dataclass
class Stages:
    """Where the time of requests went, one entry each; seconds."""

    spent: list[dict[str, float]] = field(default_factory=list)

    def add(self, wall_s: float, document: Mapping[str, Any], timing: Mapping[str, float]) -> None:
        """A finished job's document, and its result's timing."""
        created, started, finished = (
            datetime.fromisoformat(document[name]).timestamp() for name in ("created_at", "started_at", "finished_at")
        )
        worked = timing["solve_s"] + timing["diagnose_s"]
        self.spent.append(
            {
                "API, before the queue and after the answer": wall_s - (finished - created),
                "waiting in the queue": started - created,
                "solve": timing["solve_s"],
                "diagnose": timing["diagnose_s"],
                "worker: decode, encode, book, batch mates": finished - started - worked,
            }
        )

    def means(self) -> dict[str, float]:
        """Mean seconds of each stage."""
        return {name: mean(one[name] for one in self.spent) for name in self.spent[0]}


def single(model: str, y: np.ndarray, stages: Stages | None = None) -> Send:
    """One observation as JSON, answered in place with full diagnostics."""
    return many_json(model, y[None], stages)


def many_json(model: str, y: np.ndarray, stages: Stages | None = None) -> Send:
    """Observations (B, m) as JSON, answered in place; B at most what the server puts inline."""
    body = json.dumps({"model": model, "observations": y.tolist()}).encode()
    prepared = request("POST", "/invert", body, content_type=JSON, **WAIT)

    def send(line: Connection) -> int:
        began = time.perf_counter()
        reply = line.ask(prepared)
        if stages is not None:
            document = json.loads(reply.body)
            stages.add(time.perf_counter() - began, document, document["result"]["timing"])
        return len(y)

    return send


def predicted(y: np.ndarray) -> Send:
    """One observation (m,) to a peer."""
    prepared = request("POST", "/predict", json.dumps({"observations": [y.tolist()]}).encode(), content_type=JSON)

    def send(line: Connection) -> int:
        line.ask(prepared)
        return 1

    return send


def many_npy(model: str, y: np.ndarray, stages: Stages | None = None) -> Send:
    """Observations (B, m) as one npy body; the reconstructions as npy."""
    prepared = request("POST", f"/invert?model={model}", encode_npy(y), content_type=NPY, **WAIT)

    def send(line: Connection) -> int:
        began = time.perf_counter()
        document = finished(line, line.ask(prepared))
        found = line.ask(request("GET", f"/jobs/{document['id']}/result", accept=NPY))
        if stages is not None:
            stages.add(time.perf_counter() - began, document, found.timing)
        return len(y)

    return send


def finished(line: Connection, reply: Reply) -> dict[str, Any]:
    """The job's document once it has ended."""
    while True:
        document: dict[str, Any] = json.loads(reply.body)
        if document["status"] not in ("queued", "running"):
            return document
        reply = line.ask(request("GET", f"/jobs/{document['id']}?wait=30"))
