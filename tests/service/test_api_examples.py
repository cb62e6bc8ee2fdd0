"""The examples of /openapi.json: none is missing, each is valid, and the service still answers in their shape."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from service.app import create_app
from service.examples import RECORDED
from service.responses import PROBLEM
from service.security.keys import add_key
from service.settings import Settings
from tests.service.api_examples import JSON, answers, shortened

TEXTUAL = (JSON, PROBLEM, "text/plain", "text/event-stream")
"""Media of which an example can be shown: files and forms with files have none."""
DIFFERS = {"rjcp", "drift", "samples", "reasons", "workers", "limits", "commit"}
"""Members that depend on what else the service has done, or on where it runs."""


@pytest.fixture(scope="module", params=["off", "on"])
def document(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document, without and with keys."""
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    add_key(keys, "alice", ["read"])
    app = create_app(Settings(redis_url="redis://127.0.0.1:9/0", auth=request.param, keys_file=keys))
    return json.loads(json.dumps(app.openapi()))


def shown(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where, and what: every parameter of a path, and every body of which an example can be shown."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method.upper()} {path}"
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    yield f"{where} {parameter['name']}", parameter
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for what, body in bodies.items():
                assert body.get("content") or what in ("request", "204"), f"{where} {what} says nothing of its content"
                for media, content in body.get("content", {}).items():
                    if media in TEXTUAL:
                        yield f"{where} {what} {media}", content


def examples(document: dict[str, Any], content: dict[str, Any]) -> list[Any]:
    """The examples of a body or a parameter, those that are shared included."""
    named = [example["$ref"].rsplit("/", 1)[1] for example in content.get("examples", {}).values()]
    own = [content["example"]] if "example" in content else []
    return own + [document["components"]["examples"][name]["value"] for name in named]


def missing(document: dict[str, Any]) -> list[str]:
    return [where for where, content in shown(document) if not examples(document, content)]


def invalid(document: dict[str, Any]) -> list[str]:
    found = []
    for where, content in shown(document):
        schema = {**content.get("schema", {}), "components": document["components"]}
        errors = [e.message for example in examples(document, content) for e in _errors(schema, example)]
        found += [f"{where}: {message}" for message in errors]
    return found


def _errors(schema: dict[str, Any], example: Any) -> Iterator[Any]:
    return Draft202012Validator(schema).iter_errors(example)


def test_no_example_is_missing_and_each_is_valid(document: dict[str, Any]) -> None:
    assert len(list(shown(document))) > 300
    assert not missing(document)
    assert not invalid(document)


def test_what_is_missing_or_invalid_is_seen(document: dict[str, Any]) -> None:
    broken = copy.deepcopy(document)
    responses = broken["paths"]["/jobs/{job_id}"]["get"]["responses"]
    responses["404"]["content"][PROBLEM]["examples"] = {}
    responses["200"]["content"][JSON]["example"]["status"] = "asleep"
    del broken["paths"]["/invert"]["post"]["requestBody"]["content"][JSON]["example"]
    assert missing(broken) == [f"POST /invert request {JSON}", f"GET /jobs/{{job_id}} 404 {PROBLEM}"]
    assert [text.split(":")[0] for text in invalid(broken)] == [f"GET /jobs/{{job_id}} 200 {JSON}"]


def test_problems_have_the_status_under_which_they_stand(document: dict[str, Any]) -> None:
    for where, content in shown(document):
        if where.endswith(PROBLEM):
            status = int(where.split()[-2])
            assert {example["status"] for example in examples(document, content)} == {status}, where


def test_foreign_protocols_explain_their_problems(document: dict[str, Any]) -> None:
    responses = document["paths"]["/Evaluate"]["post"]["responses"]
    (problem,) = examples(document, responses["422"]["content"][PROBLEM])
    assert problem["error"] == {"type": "InvalidInput", "message": problem["detail"]}
    assert all("error" not in example for example in examples(document, responses["401"]["content"][PROBLEM]))


@pytest.mark.slow
def test_the_service_still_answers_so(http: httpx.Client) -> None:
    recorded = json.loads(RECORDED.read_text("utf-8"))
    stale = [
        f"{call.operation} {call.status}"
        for call, answer in answers(http)
        if not alike(answer, recorded[call.operation]["answers"][str(call.status)][call.media])
        or recorded[call.operation].get("request", {JSON: None})[JSON] != call.body
    ]
    assert not stale, "record them anew: python -m tests.service.api_examples"


def alike(one: Any, other: Any) -> bool:
    """Whether two answers have the same members of the same kinds; null is of every kind, a list as its first entry."""
    if one is None or other is None:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(name in DIFFERS or alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return all(alike(a, b) for a, b in zip(one[:1], other[:1], strict=False))
    return type(one) is type(other)


def test_answers_differ_where_a_member_is_gone_or_of_another_kind() -> None:
    assert alike({"a": [1, 2], "b": "x", "c": None}, {"a": [3], "b": "", "c": 1.0})
    assert not alike({"a": [1]}, {"a": ["1"]})
    assert not alike({"a": {"b": 1}}, {"a": {}})
    assert shortened(list(range(99))) == [0, 1, 2]
