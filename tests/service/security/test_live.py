"""`deceptron serve` with keys, as its users meet it: the client, the command line, and the log afterwards."""

import os
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.client import Client, Problem
from service.security.keys import add_key
from tests.fuzz.campaign import Findings, schemathesis
from tests.service.conftest import DECEPTRON, ROOT, Service, start_service, stop_service


# One test and not four: one service is started.
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_service_with_keys(tmp_path: Path, observation: np.ndarray) -> None:
    np.save(tmp_path / "one.npy", observation)
    (tmp_path / "data").mkdir()
    alice, bob = (add_key(tmp_path / "data" / "keys.json", name, ["submit", "read"]) for name in ("alice", "bob"))
    own = start_service(tmp_path, "--workers", "1")
    try:
        the_client_takes_a_key(own, observation, alice, bob)
        the_command_line_takes_a_key(own, tmp_path, alice)
        the_service_says_who_may(own, alice)
        it_answers_as_it_documents(own, alice)
    finally:
        stop_service(own)
    log = own.log.read_text()
    for key in (alice, bob):
        _, key_id, secret = key.split("_", 2)
        assert secret not in log
        assert f'"key":"{key_id}"' in log


def the_client_takes_a_key(own: Service, observation: np.ndarray, alice: str, bob: str) -> None:
    with Client(own.url, progress=False, key=alice) as client:
        assert client.invert("oscillator", observation).items[0].x is not None
        job = client.wait(client.submit("oscillator", observation))
    with Client(own.url, progress=False, key=bob) as client, pytest.raises(Problem, match="404"):
        client.result(job.id)
    with (
        Client(own.url, progress=False) as client,
        pytest.raises(Problem, match="401 Unauthorized: an API key is needed"),
    ):
        client.models()


def the_command_line_takes_a_key(own: Service, folder: Path, alice: str) -> None:
    words = [*DECEPTRON, "invert", "oscillator", str(folder / "one.npy"), "--url", own.url]
    env = {name: value for name, value in os.environ.items() if name != "DECEPTRON_API_KEY"}
    runs = [
        subprocess.run(call, cwd=ROOT, env=given, capture_output=True, text=True, timeout=500)
        for call, given in ((words, env), ([*words, "--key", alice], env), (words, {**env, "DECEPTRON_API_KEY": alice}))
    ]
    assert [ran.returncode for ran in runs] == [1, 0, 0], runs
    assert "401 Unauthorized" in runs[0].stderr
    assert "in_range" in runs[1].stdout


def the_service_says_who_may(own: Service, alice: str) -> None:
    headers = {"Authorization": f"Bearer {alice}"}
    with httpx.Client(base_url=own.url, trust_env=False) as http:
        assert http.get("/health/ready").json() == {"status": "ready"}
        assert http.get("/metrics").status_code == 401
        assert "deceptron_queue_up 1.0" in http.get("/metrics", headers=headers).text
        assert http.get("/models", headers={**headers, "host": "evil.example"}).status_code == 421
        assert http.get("/models", headers={**headers, "origin": "https://evil.example"}).status_code == 403


def it_answers_as_it_documents(own: Service, key: str | None) -> None:
    """A few requests per operation, made from /openapi.json; `make fuzz` makes thousands."""
    found = Findings()
    schemathesis(found, own, 100, key, seed=3, phases="examples,fuzzing")
    assert not found.bad
    assert found.rows[0][2] >= 50


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_service_without_keys_answers_as_it_documents(service: Service) -> None:
    it_answers_as_it_documents(service, None)
