"""POST /invert and /compare on a running service."""

import json
import uuid
from typing import Any

import httpx
import numpy as np
import pytest

from service.arrays import decode_npy, encode_npy, encode_object
from service.demo import NOISE_STD, displacement, identifiable, make_example
from tests.service.conftest import MAX_WAIT_S, WAIT

NPY = {"Content-Type": "application/x-npy"}


def solve(http: httpx.Client, path: str = "/invert", **body: Any) -> dict[str, Any]:
    """Post, wait, and give the finished job's document."""
    response = http.post(path, json={"model": "oscillator", **body}, headers=WAIT)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def test_json_is_accepted_polled_and_fetched(http: httpx.Client, observation: np.ndarray) -> None:
    body = {"model": "oscillator", "observations": [observation.tolist()], "method": "auto"}
    accepted = http.post("/invert", json=body)
    assert accepted.status_code == 202
    assert int(accepted.headers["retry-after"]) >= 1
    job = http.get(accepted.headers["location"], params={"wait": MAX_WAIT_S}).json()
    assert job["status"] == "succeeded"
    assert job["progress"] == {"done": 1, "total": 1}
    result = http.get(job["links"]["result"]).json()
    assert result == job["result"]
    assert {"model", "version", "method", "device", "engine", "timing", "items"} <= set(result)
    assert set(result["timing"]) == {"queued_s", "solve_s", "diagnose_s"}
    assert result["items"][0]["error"] is None
    assert result["items"][0]["diagnostics"]["verdict"] in ("in_range", "suspect", "out_of_range")


def test_the_reconstruction_explains_the_observation(http: httpx.Client) -> None:
    example = make_example(3)
    item = solve(http, observations=example.observation.tolist())["result"]["items"][0]
    x = np.array(item["x"])
    misfit = np.sqrt(np.mean((displacement(x) - example.observation) ** 2))
    assert misfit < 1.25 * NOISE_STD
    np.testing.assert_allclose(identifiable(x), identifiable(example.truth), atol=0.15)


def test_json_base64_and_npy_give_the_same_answer(http: httpx.Client, observations: np.ndarray) -> None:
    few = observations[:3]
    lists = solve(http, observations=few.tolist())["result"]["items"]
    packed = solve(http, observations=encode_object(few))["result"]["items"]
    query = {"model": "oscillator", "method": "auto", "preset": "product", "history": "false"}
    binary = http.post("/invert", content=encode_npy(few), params=query, headers=WAIT | NPY)
    assert binary.status_code == 200
    assert [i["x"] for i in lists] == [i["x"] for i in packed] == [i["x"] for i in binary.json()["result"]["items"]]


def test_error_bars_are_left_out_when_not_wanted(http: httpx.Client, observation: np.ndarray) -> None:
    """In JSON and in the query; what is no truth value is refused by name."""
    item = solve(http, observations=observation.tolist(), uncertainty=False)["result"]["items"][0]
    assert "std" not in item["diagnostics"]
    query = {"model": "oscillator", "uncertainty": "true"}
    answer = http.post("/invert", content=encode_npy(observation), params=query, headers=WAIT | NPY).json()
    assert len(answer["result"]["items"][0]["diagnostics"]["std"]) == 5
    body = {"model": "oscillator", "observations": observation.tolist(), "uncertainty": "perhaps"}
    refused = http.post("/invert", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "uncertainty"


def test_a_met_preference_is_acknowledged(http: httpx.Client, observation: np.ndarray) -> None:
    body = {"model": "oscillator", "observations": observation.tolist()}
    response = http.post("/invert", json=body, headers={"Prefer": f"respond-async, wait={MAX_WAIT_S - 1}"})
    assert response.status_code == 200
    assert response.headers["preference-applied"] == f"wait={MAX_WAIT_S - 1}"
    assert response.json()["status"] == "succeeded"


def test_a_thousand_observations_in_one_npy_body(http: httpx.Client, observations: np.ndarray) -> None:
    query = {"model": "oscillator", "method": "lm"}
    accepted = http.post("/invert", content=encode_npy(observations.astype("<f4")), params=query, headers=NPY)
    assert accepted.status_code == 202
    path = accepted.headers["location"]
    with http.stream("GET", f"{path}/events") as stream:
        told = [json.loads(line[5:]) for line in stream.iter_lines() if line.startswith("data:")]
    done = [job["progress"]["done"] for job in told]
    assert done == sorted(done)
    assert done[-1] == 1000
    job = http.get(path).json()
    assert job["status"] == "succeeded"
    assert "result" not in job  # too large to stand inline
    stacked = decode_npy(http.get(f"{path}/result", headers={"Accept": "application/x-npy"}).content)
    items = http.get(f"{path}/result").json()["items"]
    assert stacked.shape == (1000, 5)
    np.testing.assert_allclose(stacked, [item["x"] for item in items])
    # In order: each answer explains its own observation.
    for row in (0, 255, 256, 999):
        assert np.sqrt(np.mean((displacement(stacked[row]) - observations[row]) ** 2)) < 2 * NOISE_STD


def test_compare_runs_every_method_under_one_set_of_rules(http: httpx.Client, observations: np.ndarray) -> None:
    methods = ["oneshot", "dipg", "lm", "gd"]
    options = {"preset": "paper", "max_iterations": 30}
    job = solve(http, "/compare", observations=observations[:2].tolist(), methods=methods, options=options)
    result = job["result"]
    assert job["kind"] == "compare"
    assert result["rules"]["preset"] == "paper"
    assert result["rules"]["max_iterations"] == 30
    assert [entry["method"] for entry in result["results"]] == methods
    assert sum(entry["solve_s"] for entry in result["results"]) == pytest.approx(result["timing"]["solve_s"])
    for entry in result["results"]:
        assert len(entry["items"]) == 2
        assert all(item["history"] for item in entry["items"])
    headers = {"Accept": "application/x-npy"}
    assert decode_npy(http.get(job["links"]["result"], headers=headers).content).shape == (4, 2, 5)


def test_compare_takes_npy_too(http: httpx.Client, observation: np.ndarray) -> None:
    query = {"model": "oscillator", "methods": "oneshot,lm"}
    response = http.post("/compare", content=encode_npy(observation), params=query, headers=WAIT | NPY)
    assert response.status_code == 200, response.text
    assert [entry["method"] for entry in response.json()["result"]["results"]] == ["oneshot", "lm"]


def test_a_constraint_holds(http: httpx.Client, observation: np.ndarray) -> None:
    constraint = {"fixed": {"indices": [0], "values": [1.0]}}
    item = solve(http, observations=observation.tolist(), constraint=constraint)["result"]["items"][0]
    assert item["x"][0] == pytest.approx(1.0)


def test_a_hopeless_row_does_not_fail_its_batch(http: httpx.Client, observations: np.ndarray) -> None:
    rows = observations[:3].copy()
    rows[1] = 1e300
    job = solve(http, observations=rows.tolist())
    assert job["status"] == "partial"
    errors = [item["error"] for item in job["result"]["items"]]
    assert errors[0] is None
    assert errors[2] is None
    assert errors[1]["detail"]
    assert job["result"]["items"][1]["x"] is None


def test_an_idempotency_key_gives_one_job(http: httpx.Client, observations: np.ndarray) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"model": "oscillator", "observations": observations[0].tolist()}
    first, second = (http.post("/invert", json=body, headers=key) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    other = http.post("/invert", json={**body, "observations": observations[1].tolist()}, headers=key)
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
