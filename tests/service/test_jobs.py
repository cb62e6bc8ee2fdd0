"""A job's life over HTTP: looked at, waited for, fetched, watched, canceled, forgotten."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from service.arrays import decode_npy, encode_npy
from service.routes.negotiation import negotiate
from service.routes.solve import preferred_wait_s
from tests.service.conftest import WAIT, wait_for

NPY = {"Content-Type": "application/x-npy"}
FINISHED = ("succeeded", "partial", "failed", "canceled")


@pytest.fixture
def done(http: httpx.Client, observation: np.ndarray) -> dict[str, Any]:
    """A finished job's document."""
    body = {"model": "oscillator", "observations": observation.tolist()}
    document: dict[str, Any] = http.post("/invert", json=body, headers=WAIT).json()
    assert document["status"] == "succeeded"
    return document


@pytest.fixture
def long(http: httpx.Client, observations: np.ndarray) -> Iterator[str]:
    """The path of a job that takes a while: small steps, many of them, and nothing to stop at."""
    query = {"model": "oscillator", "method": "gd", "max_iterations": "3000", "tolerance": "1e-12"}
    body = encode_npy(np.tile(observations, (5, 1)))
    response = http.post("/invert", content=body, params=query, headers=NPY)
    assert response.status_code == 202, response.text
    yield response.headers["location"]
    http.delete(response.headers["location"], params={"purge": True})


def test_the_document_tells_when_and_where(http: httpx.Client, done: dict[str, Any]) -> None:
    assert done["created_at"] <= done["started_at"] <= done["finished_at"] < done["expires_at"]
    assert done["created_at"].endswith("Z")
    assert done["error"] is None
    assert set(done["links"]) == {"self", "result", "events"}
    assert http.get(done["links"]["self"]).json() == done


def test_numbers_alone_come_with_their_times(http: httpx.Client, done: dict[str, Any]) -> None:
    response = http.get(done["links"]["result"], headers={"Accept": "application/x-npy"})
    stages = [mark.split(";dur=") for mark in response.headers["server-timing"].split(", ")]
    assert {name: float(ms) for name, ms in stages} == {
        name: pytest.approx(1e3 * done["result"]["timing"][f"{name}_s"], abs=1e-3)
        for name in ("queued", "solve", "diagnose")
    }


def test_a_long_result_is_sent_page_by_page(http: httpx.Client, observations: np.ndarray) -> None:
    """More chunks than are held at once: the same document, without a length known beforehand."""
    many = np.tile(observations, (5, 1))[:4500]
    query = {"model": "oscillator", "method": "oneshot"}
    job = http.post("/invert", content=encode_npy(many), params=query, headers={**NPY, **WAIT}).json()
    assert wait_for(lambda: http.get(job["links"]["self"]).json()["status"] == "succeeded", 200)
    response = http.get(job["links"]["result"])
    assert "content-length" not in response.headers
    document = response.json()
    assert (document["model"], document["method"], len(document["items"])) == ("oscillator", "oneshot", 4500)
    x = decode_npy(http.get(job["links"]["result"], headers={"Accept": "application/x-npy"}).content)
    np.testing.assert_array_equal(np.array([item["x"] for item in document["items"]], x.dtype), x)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("application/json", "application/json"),
        ("application/x-npy", "application/x-npy"),
        ("application/x-npy;q=0.1, application/json;q=0.2", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
    ],
)
def test_the_result_comes_as_asked(http: httpx.Client, done: dict[str, Any], accept: str, media: str) -> None:
    response = http.get(done["links"]["result"], headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == media


def test_an_unfinished_job_has_no_result(http: httpx.Client, long: str) -> None:
    early = http.get(f"{long}/result")
    assert early.status_code == 409
    assert early.headers["content-type"] == "application/problem+json"
    assert http.get(long).headers["retry-after"]
    assert http.get(long, params={"wait": 0.1}).json()["status"] in ("queued", "running")


def test_cancel_ends_a_job_and_leaves_others_alone(http: httpx.Client, long: str) -> None:
    wait_for(lambda: http.get(long).json()["status"] == "running")
    response = http.delete(long)
    assert response.status_code in (200, 202)
    job = wait_for(lambda: (found := http.get(long).json())["status"] == "canceled" and found)
    assert job["progress"]["done"] < job["progress"]["total"]
    assert http.get(f"{long}/result").status_code == 410
    body = {"model": "oscillator", "observations": [0.1] * 64}
    other = http.post("/invert", json=body).headers["location"]
    assert wait_for(lambda: http.get(other).json()["status"] in ("succeeded", "partial"), 200)


def test_canceling_a_finished_job_changes_nothing(http: httpx.Client, done: dict[str, Any]) -> None:
    response = http.delete(done["links"]["self"])
    assert response.status_code == 200
    assert response.json()["status"] == "succeeded"
    assert http.get(done["links"]["result"]).status_code == 200


def test_purge_forgets(http: httpx.Client, done: dict[str, Any]) -> None:
    assert http.delete(done["links"]["self"], params={"purge": "true"}).status_code == 204
    assert http.get(done["links"]["self"]).status_code == 404
    assert http.get(done["links"]["result"]).status_code == 404


def test_events_tell_progress_then_the_end(http: httpx.Client, observations: np.ndarray) -> None:
    query = {"model": "oscillator", "method": "lm"}
    path = http.post("/invert", content=encode_npy(observations), params=query, headers=NPY).headers["location"]
    with http.stream("GET", f"{path}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line and not line.startswith(":")]
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event:")]
    jobs = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data:")]
    assert names == ["progress"] * (len(names) - 1) + ["end"]
    assert jobs[-1]["status"] == "succeeded"
    assert jobs[-1]["progress"] == {"done": 1000, "total": 1000}
    assert all(job["status"] not in FINISHED for job in jobs[:-1])


def test_events_of_a_finished_job_are_its_end(http: httpx.Client, done: dict[str, Any]) -> None:
    text = http.get(done["links"]["events"]).text
    assert text.count("event:") == 1
    assert "event: end" in text


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (["wait=10"], 10.0),
        (["respond-async, wait=5"], 5.0),
        (["respond-async", "wait = 5"], 5.0),
        (["wait=99"], 30.0),
        (['wait="7"; foo=bar'], 7.0),
        (["return=minimal"], None),
        (["wait=soon"], None),
        (["await=5"], None),
        ([], None),
    ],
)
def test_prefer_is_read_as_rfc_7240_says(prefer: list[str], seconds: float | None) -> None:
    assert preferred_wait_s(prefer, 30.0) == seconds


def test_a_specific_range_wins_over_a_general_one() -> None:
    assert negotiate("application/json;q=0, */*") == "application/x-npy"
