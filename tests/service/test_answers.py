"""What the service answers is what /openapi.json says: nothing more, nothing less, in whatever state a job is."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from service.app import create_app
from service.deblurring.results import assemble_picture
from service.deblurring.spec import DeblurSpec
from service.examples import RECORDED
from service.inference import SolveSpec
from service.queue.records import ERROR_PART, ITEMS_PART
from service.responses import dump_json
from service.results import result_json
from service.settings import Settings
from tests.service.api_examples import COMPARE, DEBLUR, IMAGE, INFER, INVERT, JSON, OBSERVATION, WAIT, Call, responses
from tests.service.conftest import wait_for

OPTIONAL = {"result", "id"}  # of a job while there is none; of a V2 answer to a request without one
LOST = {ERROR_PART: b"the worker died three times", ITEMS_PART: b"2"}
NOT_FINITE = [1e300] * 64
COLOUR = np.tile(np.array(IMAGE)[:, :, None], (2, 2, 3)).tolist()
ALL = ["auto", "dipg", "gn", "lm", "gd", "lbfgs", "oneshot"]


class Documented:
    """The API document, and whether an answer is as it says."""

    def __init__(self) -> None:
        app = create_app(Settings(redis_url="redis://127.0.0.1:9/0"))
        self.document: dict[str, Any] = json.loads(json.dumps(app.openapi()))
        components = {"components": self.document["components"]}
        self._validators = {where: Draft202012Validator(schema | components) for where, schema in self.schemas()}

    def schemas(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Of every JSON answer: 'GET /jobs/{job_id} 200' and what it says."""
        for path, operations in self.document["paths"].items():
            for method, operation in operations.items():
                for status, response in operation["responses"].items():
                    if JSON in response.get("content", {}):
                        yield f"{method.upper()} {path} {status}", response["content"][JSON]["schema"]

    def wrong(self, where: str, answer: Any) -> str | None:
        """What is wrong with an answer, or None."""
        error = best_match(self._validators[where].iter_errors(answer))
        return error and f"{where} at {error.json_path}: {error.message[:300]}"


@pytest.fixture(scope="module")
def documented() -> Documented:
    return Documented()


def test_every_json_answer_has_a_schema(documented: Documented) -> None:
    found = dict(documented.schemas())
    assert len(found) > 35
    assert not [where for where, schema in found.items() if not schema]


def test_answers_are_closed_and_whole(documented: Documented) -> None:
    """One member more, or one less, than what was recorded is seen wherever it happens."""
    unseen = []
    for operation, recorded in json.loads(RECORDED.read_text("utf-8")).items():
        for status, told in recorded["answers"].items():
            where, answer = f"{operation} {status}", told.get(JSON)
            if isinstance(answer, dict):
                assert documented.wrong(where, answer) is None
                unseen += [
                    f"{where} {change}" for change, broken in changed(answer) if not documented.wrong(where, broken)
                ]
    assert not unseen


def changed(answer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The answer with one thing wrong: a member too many, missing, of another kind, or of another name in an item."""
    yield "surprise", {**answer, "surprise": 1}
    for name in answer:
        yield f"{name} of another kind", {**answer, name: [{"surprise": 1}]}
        if name not in OPTIONAL:
            less = copy.copy(answer)
            del less[name]
            yield f"no {name}", less
    text = json.dumps(answer)
    if '"residual_rms":' in text:
        yield "item", json.loads(text.replace('"residual_rms":', '"residual_mean":', 1))


@pytest.mark.parametrize("kind", ["invert", "compare", "deblur"])
def test_what_failed_as_a_whole_is_described(documented: Documented, kind: str) -> None:
    if kind == "deblur":
        spec = DeblurSpec("dnet", "deblur", 1, None, "reflect", 1, None, 8, 8, 1, 8)
        text = dump_json(assemble_picture(spec, [LOST]).document(None, True))
    else:
        text = result_json(
            SolveSpec("oscillator", 1, ("lm", "gd") if kind == "compare" else ("lm",)), kind, None, [LOST]
        )
    assert documented.wrong("GET /jobs/{job_id}/result 200", json.loads(text)) is None


@pytest.mark.slow
def test_the_service_answers_as_described(documented: Documented, http: httpx.Client) -> None:
    every = [*responses(http), *of_every_model(http), *of_every_kind(http)]
    found = [documented.wrong(f"{call.operation} {call.status}", r.json()) for call, r in every if call.media == JSON]
    assert len(found) > 70
    assert not [wrong for wrong in found if wrong]


def of_every_model(http: httpx.Client) -> Iterator[tuple[Call, httpx.Response]]:
    """Cards, histograms and examples of every model there is."""
    cards = http.get("/models").json()["models"]
    assert {card["kind"] for card in cards} == {"deceptron", "network"}
    for card in cards:
        paths = ["", "/calibration"] if card["calibration"]["items"] else [""]
        paths += ["/examples"] if card["kind"] == "deceptron" else []
        for path in paths:
            yield sent(http, Call(f"GET /models/{{name}}{path}", parameters={"name": card["name"]}))


def of_every_kind(http: httpx.Client) -> Iterator[tuple[Call, httpx.Response]]:
    """Results with everything that can be in them, and what a watch says once it has seen enough."""
    history = {"options": {"history": True, "max_iterations": 3}, "constraint": {"box": {"lower": -1, "upper": 1}}}
    mixed = {"observations": [OBSERVATION, NOT_FINITE]}
    bodies = {
        "POST /invert": [{**INVERT, **mixed, **history}, {**INVERT, "uncertainty": False}, many(250)],
        "POST /compare": [{**COMPARE, **mixed, **history, "methods": ALL}],
        "POST /deblur": [
            {**DEBLUR, "image": image, "method": how} for image in (IMAGE, COLOUR) for how in ("dnet", "lm")
        ],
    }
    for operation, asked in bodies.items():
        for body in asked:
            call, response = sent(http, Call(operation, body=body, headers=WAIT))
            yield call, response
            job = {"job_id": response.json()["id"]}
            yield sent(http, Call("GET /jobs/{job_id}", parameters=job))
            yield sent(http, Call("GET /jobs/{job_id}/result", parameters={**job, "arrays": "false"}))
    named = {**INFER, "id": "seven"}
    yield sent(http, Call("POST /v2/models/{name}/infer", parameters={"name": "oscillator"}, body=named))
    wait_for(lambda: http.get("/health/rjcp/oscillator").json()["drift"], 60)
    yield sent(http, Call("GET /health/rjcp/{model}", parameters={"model": "oscillator"}))


def many(count: int) -> dict[str, Any]:
    """A request whose job is too large for its result to come with it."""
    noise = np.random.default_rng(0).normal(0, 0.01, (count, 64))
    return {**INVERT, "observations": (np.array(OBSERVATION) + noise).tolist()}


def sent(http: httpx.Client, call: Call) -> tuple[Call, httpx.Response]:
    response = call.send(http, str(call.parameters.get("job_id", "")))
    assert response.status_code == call.status, (call.operation, response.text[:500])
    return call, response
