"""Load whose every answer is checked: known observations, what each must give, and a ledger of what was accepted."""

import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx
import numpy as np

from service.arrays import decode_npy, encode_npy
from service.demo import NOISE_STD, displacement, make_example
from service.inference import Inference, SolveSpec
from service.settings import CHECKPOINTS
from tests.faults.stand import MODEL

AGREES = 1e-4  # solved in other company, an item may differ by rounding; items differ from each other by far more


@dataclass(frozen=True)
class Known:
    """Observations (N, m) and the x (N, n) that an undisturbed solver gives for them."""

    y: np.ndarray
    x: np.ndarray


def known(count: int = 60) -> Known:
    clean = np.array([displacement(make_example(seed).truth) for seed in range(10)])
    y = np.tile(clean, (count // 10, 1)) + np.random.default_rng(0).normal(0.0, NOISE_STD, (count, clean.shape[1]))
    inference = Inference(CHECKPOINTS, "cpu")
    manifest = inference.manifest(MODEL)
    [answer] = inference.solve(SolveSpec(MODEL, manifest.version, ("auto",), manifest.preset), y)
    return Known(y, np.asarray(answer.x))


@dataclass(frozen=True)
class Accepted:
    """A job that was answered 202, and which of the known observations it holds."""

    job: str
    rows: np.ndarray


@dataclass
class Ledger:
    """What was accepted, what became of it, and what else was answered meanwhile. Shared between threads."""

    accepted: list[Accepted] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def items(self) -> int:
        with self.lock:
            return sum(len(one.rows) for one in self.accepted)


class Load:
    """Posts jobs and checks their answers, whatever happens to the service meanwhile."""

    def __init__(self, url: str, known: Known, ledger: Ledger | None = None, seed: int = 0) -> None:
        self.known = known
        self.ledger = ledger or Ledger()
        self.http = httpx.Client(base_url=url, timeout=60.0, trust_env=False)
        self._random = np.random.default_rng(seed)
        self._name = uuid.uuid4().hex
        self._count = 0

    def close(self) -> None:
        self.http.close()

    def submit(self, items: int, patience_s: float = 300.0) -> Accepted:
        """Posts one job until it is accepted: the same Idempotency-Key each time, as a client should."""
        self._count += 1
        rows = self._random.integers(0, len(self.known.y), items)
        query = {"model": MODEL, "method": "auto"}
        headers = {"content-type": "application/x-npy", "idempotency-key": f"{self._name}-{self._count}"}
        body, deadline = encode_npy(self.known.y[rows]), time.monotonic() + patience_s
        while True:
            try:
                answer = self.http.post("/invert", params=query, content=body, headers=headers)
            except httpx.TransportError:
                self._note(0)
            else:
                if answer.status_code == 202:
                    return self._accept(answer.json()["id"], rows)
                self._note(answer.status_code)
                assert answer.status_code in (429, 503), answer.text
            assert time.monotonic() < deadline, "not accepted in time"
            time.sleep(0.1)

    def check(self, one: Accepted, patience_s: float = 300.0) -> str:
        """Waits for a job's end and compares its answers with the known ones; notes and answers what became of it."""
        status = self._finished(one.job, time.monotonic() + patience_s)
        outcome = str(status["status"])
        if status["progress"] != {"done": len(one.rows), "total": len(one.rows)}:
            outcome = f"{outcome}, but progress {status['progress']}"
        elif outcome in ("succeeded", "partial"):
            outcome = self._compare(one, outcome)
        with self.ledger.lock:
            self.ledger.outcomes[outcome] += len(one.rows)
            if outcome != "succeeded":
                self.ledger.problems.append(f"{one.job}: {outcome} ({status['error']})")
        return outcome

    def _compare(self, one: Accepted, outcome: str) -> str:
        first, second = (self._get(f"/jobs/{one.job}/result", {"accept": "application/x-npy"}) for _ in range(2))
        for answer in (first, second):
            if answer.status_code != 200:
                return f"no result ({answer.status_code}: {answer.text[:200]})"
        if first.content != second.content:
            return f"two different results ({len(first.content)} and {len(second.content)} bytes)"
        x, expected = decode_npy(first.content), self.known.x[one.rows]
        answered = np.isfinite(x).all(axis=1)
        wrong = np.abs(x[answered] - expected[answered]).max(initial=0.0)
        if wrong > AGREES:
            return f"wrong by {wrong:g}"
        return outcome if answered.all() or outcome == "partial" else "succeeded without an answer"

    def _finished(self, job: str, deadline: float) -> dict[str, object]:
        while True:
            answer = self._get(f"/jobs/{job}?wait=5")
            if answer.status_code != 200:
                return {"status": f"lost ({answer.status_code})", "progress": None, "error": answer.text}
            document: dict[str, object] = answer.json()
            if document["status"] not in ("queued", "running"):
                return document
            if time.monotonic() > deadline:
                return {**document, "status": f"stuck: {document['status']}"}

    def _get(self, path: str, headers: dict[str, str] | None = None, patience_s: float = 200.0) -> httpx.Response:
        """An answer that is not an outage's."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                answer = self.http.get(path, headers=headers)
                if answer.status_code != 503:
                    return answer
                self._note(503)
            except httpx.TransportError:
                self._note(0)
            assert time.monotonic() < deadline, "no answer in time"
            time.sleep(0.1)

    def _accept(self, job: str, rows: np.ndarray) -> Accepted:
        one = Accepted(job, rows)
        with self.ledger.lock:
            self.ledger.accepted.append(one)
        return one

    def _note(self, status: int) -> None:
        with self.ledger.lock:
            self.ledger.refused[status] += 1
