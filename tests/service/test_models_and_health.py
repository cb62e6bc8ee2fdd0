"""What the service says of its models and of itself."""

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
import pytest

from service.inference import METHODS
from service.schemas import ALL_METHODS
from tests.service.conftest import WAIT, Service, wait_for


def test_model_cards(http: httpx.Client) -> None:
    cards = {card["name"]: card for card in http.get("/models").json()["models"]}
    assert "oscillator" in cards
    card = http.get("/models/oscillator").json()
    assert card == cards["oscillator"] == http.get("/models/oscillator", params={"version": card["version"]}).json()
    assert card["unknown"]["shape"] == [5]
    assert card["observation"]["shape"] == [64]
    assert {"problem", "methods", "training", "metrics", "calibration"} <= set(card)


def test_examples_can_be_posted_back(http: httpx.Client) -> None:
    examples = http.get("/models/oscillator/examples").json()
    assert np.array(examples["unknowns"]).shape == (len(examples["observations"]), 5)
    body = {"model": "oscillator", "observations": examples["observations"]}
    job = http.post("/invert", json=body, headers=WAIT).json()
    assert job["status"] == "succeeded"


def test_calibration_histograms(http: httpx.Client) -> None:
    """They hold every calibration item, and a score that cannot tell requests apart is one bin."""
    found = http.get("/models/oscillator/calibration").json()
    assert set(found["scores"]) == set(http.get("/models/oscillator").json()["calibration"]["quantiles"])
    for histogram in found["scores"].values():
        assert sum(histogram["counts"]) == found["items"]
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1
        assert histogram["edges"] == sorted(histogram["edges"])
    assert len(found["scores"]["rjcp"]["counts"]) > 10
    linear = http.get("/models/oscillator-paper/calibration").json()["scores"]["rjcp"]
    assert linear["counts"] == [found["items"]]
    assert http.get("/models/nonsense/calibration").status_code == 404


def test_rjcp_of_one_model_is_its_window(http: httpx.Client) -> None:
    examples = http.get("/models/oscillator/examples").json()
    body = {"model": "oscillator", "observations": examples["observations"][:2]}
    http.post("/invert", json=body, headers=WAIT)

    def seen() -> dict[str, Any] | None:
        answer: dict[str, Any] = http.get("/health/rjcp/oscillator").json()
        return answer if len(answer["samples"]["at"]) >= 2 else None

    found = wait_for(seen)
    samples = found.pop("samples")
    assert set(found) == set(http.get("/health/rjcp").json()["models"]["oscillator"])
    assert {len(values) for values in samples.values()} == {found["window"]["count"]}
    assert samples["at"] == sorted(samples["at"])
    assert http.get("/health/rjcp/nonsense").status_code == 404


def test_methods_are_those_of_the_solver() -> None:
    assert ALL_METHODS == METHODS


def test_health(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    wait_for(lambda: http.get("/health/ready").status_code == 200)
    ready = http.get("/health/ready").json()
    assert set(ready["checks"]) == {"queue", "worker", "models", "device"}
    line = http.get("/health").json()
    assert line["status"] == line["database"] == "ok"
    assert line["device"] == "cpu"
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", line["commit"])
    # Other tests post what is far out of range to the same service: being ready must not depend on it.
    assert line["rjcp"]["oscillator"] in {"no_data", "ok", "warning", "critical"}


def test_openapi_describes_bodies_and_problems(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    invert = document["paths"]["/invert"]["post"]
    assert set(invert["requestBody"]["content"]) == {"application/json", "application/x-npy"}
    assert "application/problem+json" in invert["responses"]["422"]["content"]
    missing = [ref for ref in references(document) if not resolves(document, ref)]
    assert not missing
    assert http.get("/docs").status_code == 200


def references(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in references(value)]
    return [ref for value in node for ref in references(value)] if isinstance(node, list) else []


def resolves(document: Any, reference: str) -> bool:
    for part in reference.removeprefix("#/").split("/"):
        document = document.get(part)
        if document is None:
            return False
    return True


@pytest.mark.parametrize("given", [None, "my-request.1", "bad id\twith junk"])
def test_every_answer_and_log_line_carries_the_request_id(
    http: httpx.Client, service: Service, given: str | None
) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    shown = http.get("/models", headers=headers).headers["x-request-id"]
    assert shown == given if given == "my-request.1" else re.fullmatch(r"[0-9a-f]{32}", shown)
    line = json.loads(wait_for(lambda: next((x for x in service.log.read_text().splitlines() if shown in x), None)))
    assert (line["method"], line["path"], line["status"], line["process"]) == ("GET", "/models", 200, "api")


def test_all_logs_are_json(service: Service) -> None:
    lines = service.log.read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert {"api", "worker", "serve"} <= {event["process"] for event in events}
    assert any(event["logger"].startswith("uvicorn") for event in events)
