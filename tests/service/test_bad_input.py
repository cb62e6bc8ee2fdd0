"""What users get wrong: each a 4xx problem document that names the field, and nobody else notices."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from service.arrays import encode_npy
from tests.service.conftest import wait_for

NPY = {"Content-Type": "application/x-npy"}
JSON = {"Content-Type": "application/json"}
GOOD = [0.0] * 64
QUERY = {"model": "oscillator"}
HUGE = b"\x93NUMPY\x01\x00\x4a\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000,), }".ljust(74)


def body(**changes: Any) -> str:
    """A good JSON body, changed; NaN and Infinity are written as Python writes them."""
    return json.dumps({"model": "oscillator", "observations": [GOOD], **changes})


def row(index: int, value: Any) -> list[Any]:
    return [*GOOD[:index], value, *GOOD[index + 1 :]]


CASES: dict[str, tuple[int, str, str | bytes]] = {
    "wrong length": (422, "observations", body(observations=[[1.0, 2.0, 3.0]])),
    "ragged": (422, "observations[1]", body(observations=[GOOD, GOOD[:-1]])),
    "nan": (422, "observations[2][5]", body(observations=[GOOD, GOOD, row(5, float("nan"))])),
    "infinity": (422, "observations[0][1]", body(observations=[row(1, float("inf"))])),
    "too large a number": (422, "observations[0][1]", body(observations=[row(1, 10**400)])),
    "string": (422, "observations[0][0]", body(observations=[row(0, "1.0")])),
    "boolean": (422, "observations[0][0]", body(observations=[row(0, True)])),
    "null": (422, "observations[0][63]", body(observations=[row(63, None)])),
    "a string for all": (422, "observations", body(observations="1 2 3")),
    "empty list": (422, "observations", body(observations=[])),
    "empty observation": (422, "observations", body(observations=[[]])),
    "no observations": (422, "observations", json.dumps({"model": "oscillator"})),
    "no model": (422, "model", json.dumps({"observations": [GOOD]})),
    "unknown model": (404, "model", body(model="heat17d")),
    "a path for a model": (404, "model", body(model="../../etc")),
    "a number for a model": (422, "model", body(model=7)),
    "unknown version": (404, "model", body(version=999)),
    "unknown method": (422, "method", body(method="magic")),
    "unknown field": (422, "colour", body(colour="red")),
    "unknown option": (422, "options.speed", body(options={"speed": 9})),
    "unknown preset": (422, "options.preset", body(options={"preset": "best"})),
    "no iterations": (422, "options.max_iterations", body(options={"max_iterations": 0})),
    "too many iterations": (422, "options.max_iterations", body(options={"max_iterations": 10**9})),
    "iterations as text": (422, "options.max_iterations", body(options={"max_iterations": "5"})),
    "false for a number": (422, "options.relaxation", body(options={"relaxation": False})),
    "nan tolerance": (422, "options.tolerance", body(options={"tolerance": float("nan")})),
    "relaxation above one": (422, "options.relaxation", body(options={"relaxation": 1.5})),
    "infeasible box": (422, "constraint", body(constraint={"box": {"lower": 3, "upper": -3}})),
    "outside the problem": (422, "constraint", body(constraint={"box": {"lower": 50, "upper": 60}})),
    "nan constraint": (422, "constraint", body(constraint={"box": {"lower": float("nan"), "upper": 1}})),
    "unknown constraint": (422, "constraint", body(constraint={"sphere": 1})),
    "a list for a constraint": (422, "constraint", body(constraint=[1, 2])),
    "not json": (400, "", b"model=oscillator&observations=1"),
    "half of json": (400, "", body()[:-20]),
    "json but no object": (400, "", b"[1, 2, 3]"),
    "nothing": (400, "", b""),
    "a deep well": (400, "", b"[" * 200_000),
    "a deep well in an object": (400, "", b'{"a":' * 200_000),
    "not utf-8": (400, "", b'{"model": "\xff\xfe"}'),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_json(http: httpx.Client, name: str) -> None:
    status, field, content = CASES[name]
    check_problem(http.post("/invert", content=content, headers=JSON), status, field)


NPY_CASES: dict[str, tuple[int, str, bytes, dict[str, str]]] = {
    "a billion elements": (422, "observations", HUGE, QUERY),
    "nan": (422, "observations[0][3]", encode_npy(np.array([row(3, np.nan)])), QUERY),
    "truncated": (422, "observations", encode_npy(np.zeros((2, 64)))[:-8], QUERY),
    "three dimensions": (422, "observations", encode_npy(np.zeros((1, 1, 64))), QUERY),
    "wrong width": (422, "observations", encode_npy(np.zeros((1, 63))), QUERY),
    "not npy": (400, "observations", b"PK\x03\x04 a zip archive", QUERY),
    "no model": (422, "model", encode_npy(np.zeros(64)), {}),
    "unknown parameter": (422, "speed", encode_npy(np.zeros(64)), {**QUERY, "speed": "9"}),
    "text for a number": (422, "max_iterations", encode_npy(np.zeros(64)), {**QUERY, "max_iterations": "many"}),
    "broken constraint": (422, "constraint", encode_npy(np.zeros(64)), {**QUERY, "constraint": "{box"}),
}


@pytest.mark.parametrize("name", NPY_CASES)
def test_bad_npy(http: httpx.Client, name: str) -> None:
    status, field, content, query = NPY_CASES[name]
    check_problem(http.post("/invert", content=content, params=query, headers=NPY), status, field)


def test_a_64_mb_body_is_refused_while_it_streams(http: httpx.Client) -> None:
    size = 64 * 2**20
    check_problem(http.post("/invert", content=b" " * size, headers=JSON), 413, "")
    chunked = (b" " * 2**20 for _ in range(64))  # no Content-Length to go by
    check_problem(http.post("/invert", content=chunked, headers=JSON), 413, "")


def test_content_types(http: httpx.Client) -> None:
    check_problem(http.post("/invert", content=b"1,2,3", headers={"Content-Type": "text/csv"}), 415, "")
    check_problem(http.post("/invert", content=b"{}"), 415, "")
    check_problem(http.post("/invert", content=b"{}", headers={**JSON, "Content-Encoding": "gzip"}), 415, "")


@pytest.mark.parametrize("key", ["", "x" * 300, "with space"])
def test_bad_idempotency_keys(http: httpx.Client, key: str) -> None:
    response = http.post("/invert", content=body(), headers={**JSON, "Idempotency-Key": key})
    check_problem(response, 422, "Idempotency-Key")


@pytest.mark.parametrize(
    ("methods", "field"),
    [([], "methods"), (["lm", "lm"], "methods"), (["lm", "magic"], "methods[1]"), ("lm", "methods")],
)
def test_bad_comparisons(http: httpx.Client, methods: Any, field: str) -> None:
    check_problem(http.post("/compare", content=body(methods=methods), headers=JSON), 422, field)


CALLS: list[tuple[Callable[[httpx.Client], httpx.Response], int, str]] = [
    (lambda http: http.get("/nothing-here"), 404, ""),
    (lambda http: http.put("/invert"), 405, ""),
    (lambda http: http.get("/jobs/no-such-job"), 404, ""),
    (lambda http: http.get("/jobs/no-such-job/result"), 404, ""),
    (lambda http: http.get("/jobs/no-such-job/events"), 404, ""),
    (lambda http: http.delete("/jobs/no-such-job"), 404, ""),
    (lambda http: http.get("/jobs/no-such-job?wait=soon"), 422, "wait"),
    (lambda http: http.get("/jobs/no-such-job?wait=nan"), 422, "wait"),
    (lambda http: http.get("/models/no-such-model"), 404, "model"),
    (lambda http: http.get("/models/oscillator?version=one"), 422, "version"),
]


@pytest.mark.parametrize("case", range(len(CALLS)))
def test_other_calls(http: httpx.Client, case: int) -> None:
    call, status, field = CALLS[case]
    check_problem(call(http), status, field)


def check_problem(response: httpx.Response, status: int, field: str) -> None:
    """A problem document of that status, naming that field, and a service that is still well."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["type"]
    assert document["request_id"] == response.headers["x-request-id"]
    if field:
        fields = [error["field"] for error in document["errors"]]
        assert any(found == field or found.startswith((f"{field}.", f"{field}[")) for found in fields), document
        assert all(len(error["detail"]) > 5 for error in document["errors"])
    with httpx.Client(base_url=response.request.url.copy_with(path="/", query=None), trust_env=False) as other:
        wait_for(lambda: other.get("/health/ready", timeout=60).status_code == 200)
