"""The calls behind the examples of the API document: `python -m tests.service.api_examples` makes them and records.

It writes service/api_docs/examples.json: what was sent and what came back, long lists cut short.
"""

import json
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np

from service.app import create_app
from service.demo import make_example
from service.examples import JOB_ID, RECORDED
from service.settings import Settings
from tests.service.conftest import WAIT, start_service, stop_service

LONGEST_LIST, KEPT, LONGEST_TEXT = 16, 3, 5000
DIGITS = 4
JSON, TEXT, EVENTS = "application/json", "text/plain", "text/event-stream"
ELSEWHERE = {"host": "worker-1", "pid": 4711, "commit": "6f1d0c2b9a8e7f5d4c3b2a190817263544536271"}
"""What would tell of the machine on which the examples were recorded."""
_NUMBERS = re.compile(r"\[[-+.\de,\s]+\]")

OBSERVATION = np.round(make_example(3).observation, 3).tolist()
OPTIONS = {"preset": "product", "history": False}
INVERT = {"model": "oscillator", "observations": [OBSERVATION], "method": "auto", "options": OPTIONS}
COMPARE = {"model": "oscillator", "observations": [OBSERVATION], "methods": ["dipg", "lm"]}
IMAGE = np.round(np.outer(np.hanning(8), np.hanning(8)), 2).tolist()
DEBLUR = {"image": IMAGE, "psf": {"gaussian": {"sigma": 1.0}}, "noise_std": 0.01, "method": "wiener"}
TENSOR = {"name": "observations", "shape": [1, 64], "datatype": "FP64", "data": OBSERVATION}
INFER = {"inputs": [TENSOR], "outputs": [{"name": "x"}, {"name": "verdict"}], "parameters": {"method": "auto"}}
UNKNOWN = [1.2, 0.4, 2.5, 1.0, -0.5]
FUNCTION = {"name": "oscillator-forward"}
AT = {**FUNCTION, "input": [UNKNOWN]}


@dataclass(frozen=True)
class Call:
    """One call of an operation: its path and query parameters, JSON body and headers, and the status expected."""

    operation: str
    status: int = 200
    parameters: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = JSON

    def send(self, http: httpx.Client, job_id: str) -> httpx.Response:
        """The answer; `job_id` stands in for JOB_ID."""
        method, path = self.operation.split()
        query = {name: value for name, value in self.parameters.items() if f"{{{name}}}" not in path}
        for name, value in self.parameters.items():
            path = path.replace(f"{{{name}}}", job_id if name == "job_id" else str(value))
        return http.request(method, path, params=query, json=self.body, headers=self.headers)


JOB = {"job_id": JOB_ID}
OSCILLATOR = {"name": "oscillator"}
VERSIONED = {"name": "oscillator", "version": "1"}
CALLS = (
    Call("POST /invert", 202, body=INVERT),
    Call("POST /invert", 200, body=INVERT, headers=WAIT),
    Call("POST /compare", 202, body=COMPARE),
    Call("POST /compare", 200, body=COMPARE, headers=WAIT),
    Call("POST /deblur", 202, body=DEBLUR),
    Call("POST /deblur", 200, body=DEBLUR, headers=WAIT),
    Call("GET /jobs/{job_id}", parameters={**JOB, "wait": 20}),
    Call("GET /jobs/{job_id}/result", parameters=JOB),
    Call("GET /jobs/{job_id}/events", parameters=JOB, media=EVENTS),
    Call("DELETE /jobs/{job_id}", parameters=JOB),
    Call("GET /models"),
    Call("GET /models/{name}", parameters=OSCILLATOR),
    Call("GET /models/{name}/examples", parameters=OSCILLATOR),
    Call("GET /models/{name}/calibration", parameters=OSCILLATOR),
    Call("GET /health/live"),
    Call("GET /health/ready"),
    Call("GET /health/ready", 503),
    Call("GET /health"),
    Call("GET /health", 503),
    Call("GET /health/rjcp"),
    Call("GET /health/rjcp/{model}", parameters={"model": "oscillator"}),
    Call("GET /metrics", media=TEXT),
    Call("GET /metrics/workers"),
    Call("GET /v2"),
    Call("GET /v2/health/live"),
    Call("GET /v2/health/ready"),
    Call("GET /v2/health/ready", 503),
    Call("GET /v2/models/{name}", parameters=OSCILLATOR),
    Call("GET /v2/models/{name}/versions/{version}", parameters=VERSIONED),
    Call("GET /v2/models/{name}/ready", parameters=OSCILLATOR),
    Call("GET /v2/models/{name}/versions/{version}/ready", parameters=VERSIONED),
    Call("POST /v2/models/{name}/infer", parameters=OSCILLATOR, body=INFER),
    Call("POST /v2/models/{name}/versions/{version}/infer", parameters=VERSIONED, body=INFER),
    Call("GET /Info"),
    Call("POST /ModelInfo", body=FUNCTION),
    Call("POST /InputSizes", body=FUNCTION),
    Call("POST /OutputSizes", body=FUNCTION),
    Call("POST /Evaluate", body=AT),
    Call("POST /Gradient", body={**AT, "outWrt": 0, "inWrt": 0, "sens": [0.1] * 64}),
    Call("POST /ApplyJacobian", body={**AT, "outWrt": 0, "inWrt": 0, "vec": [0.0, 0.0, 0.0, 1.0, 0.0]}),
)
"""In this order: the jobs that are asked for are those of the first call."""


def answers(http: httpx.Client) -> Iterator[tuple[Call, Any]]:
    """Every call with what came back, shortened."""
    job_id = ""
    for call, response in responses(http):
        job_id = job_id or response.json()["id"]
        value = response.json() if call.media == JSON else first_lines(response.text)
        yield call, shortened(json.loads(json.dumps(value).replace(job_id, JOB_ID)))


def responses(http: httpx.Client) -> Iterator[tuple[Call, httpx.Response]]:
    """Every call and its answer as it came; raises AssertionError where another status did."""
    job_id = ""
    for call in CALLS:
        response = without_queue(call) if call.status == 503 else call.send(http, job_id)
        assert response.status_code == call.status, (call.operation, response.text)
        job_id = job_id or response.json()["id"]
        yield call, response


def without_queue(call: Call) -> httpx.Response:
    """What a service says whose queue is away."""

    async def ask() -> httpx.Response:
        app = create_app(Settings(redis_url="redis://127.0.0.1:9/0"))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
        ):
            return await client.get(call.operation.split()[1])

    return anyio.run(ask)


def first_lines(text: str) -> str:
    return "\n".join(text.replace("\r\n", "\n").splitlines()[:6]) + "\n"


def shortened(value: Any) -> Any:
    """Floats of a few digits, the first entries of long lists, nothing of this machine."""
    if isinstance(value, dict):
        return {name: ELSEWHERE.get(name, shortened(part)) for name, part in value.items()}
    if isinstance(value, list):
        kept = 1 if len(json.dumps(value)) > LONGEST_TEXT else KEPT if len(value) > LONGEST_LIST else len(value)
        return [shortened(part) for part in value[:kept]]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) and abs(value) < 1e6 else value


def record(http: httpx.Client) -> dict[str, Any]:
    """What examples.json holds."""
    found: dict[str, Any] = {}
    for call, answer in answers(http):
        told = found.setdefault(call.operation, {"answers": {}})
        told["answers"].setdefault(str(call.status), {})[call.media] = answer
        if call.parameters:
            told["parameters"] = dict(call.parameters)
        if call.body is not None:
            told["request"] = {JSON: call.body}
    accepted = found["POST /invert"]["answers"]["202"][JSON]
    found["DELETE /jobs/{job_id}"]["answers"]["202"] = {JSON: {**accepted, "status": "running"}}
    return found


def main() -> None:
    """Starts a service, makes the calls, writes the file."""
    with tempfile.TemporaryDirectory() as folder:
        own = start_service(Path(folder), "--workers", "1")
        try:
            with httpx.Client(base_url=own.url, timeout=60, trust_env=False) as http:
                found = record(http)
        finally:
            stop_service(own)
    text = json.dumps(found, indent=1).replace(socket.gethostname(), ELSEWHERE["host"])
    RECORDED.write_text(_NUMBERS.sub(lambda list_: " ".join(list_[0].split()), text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
