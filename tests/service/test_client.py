"""The Python client, blocking and asynchronous, against a running service and against a moody one."""

import asyncio
import inspect
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import numpy as np
import pytest

from service.client import (
    AsyncClient,
    Client,
    ClientError,
    JobFailed,
    Options,
    Problem,
    Retries,
    Unreachable,
    WaitTimeout,
)
from service.client.progress import progress_bar
from service.client.types import read_job
from service.demo import NOISE_STD, displacement
from tests.service.conftest import Service

SLOW = Options(max_iterations=3000, tolerance=1e-12)


def test_invert_gives_arrays(client: Client, observations: np.ndarray) -> None:
    result = client.invert("oscillator", observations[:3])
    assert result.x.shape == (3, 5)
    assert result.model == "oscillator"
    assert result.verdicts == [item.diagnostics.verdict for item in result.items if item.diagnostics]
    for x, y in zip(result.x, observations[:3], strict=True):
        assert np.sqrt(np.mean((displacement(x) - y) ** 2)) < 2 * NOISE_STD


def test_a_version_can_be_asked_for(service: Service, client: Client, observation: np.ndarray) -> None:
    """In every call that has one; one that is not there is refused, not replaced by the newest."""
    assert client.invert("oscillator", observation, version=1).version == 1
    assert client.compare("oscillator", observation, version=1, methods=["oneshot"]).version == 1
    assert client.model("oscillator", version=1)["version"] == 1
    for call in (client.invert, client.compare, client.submit):
        with pytest.raises(Problem, match="404 Unknown model"):
            call("oscillator", observation, version=77)
    with pytest.raises(Problem, match="404 Unknown model"):
        client.model("oscillator", version=77)

    async def there() -> int:
        async with AsyncClient(service.url) as twin:
            return (await twin.invert("oscillator", observation, version=1)).version

    assert asyncio.run(there()) == 1


def test_large_results_are_fetched(client: Client, observations: np.ndarray) -> None:
    result = client.invert("oscillator", observations[:100].astype(np.float32), method="lm")
    assert result.x.shape == (100, 5)
    assert result.timing.solve_s is not None


def test_compare(client: Client, observation: np.ndarray) -> None:
    comparison = client.compare("oscillator", observation, methods=["oneshot", "lm"], options=Options(preset="paper"))
    assert comparison["lm"].x.shape == (1, 5)
    assert comparison.rules["preset"] == "paper"


def test_a_failed_row_is_nan(client: Client, observations: np.ndarray) -> None:
    rows = observations[:2].copy()
    rows[0] = 1e300
    result = client.invert("oscillator", rows)
    assert np.isnan(result.x[0]).all()
    assert np.isfinite(result.x[1]).all()
    assert result.items[0].error


def test_constraints_may_hold_arrays(client: Client, observation: np.ndarray) -> None:
    constraint = {"fixed": {"indices": np.array([0]), "values": np.array([1.5])}}
    assert client.invert("oscillator", observation, constraint=constraint).x[0, 0] == pytest.approx(1.5)


def test_problems_name_the_field(client: Client) -> None:
    with pytest.raises(Problem) as caught:
        client.invert("oscillator", [1.0, 2.0])
    assert caught.value.status == 422
    assert caught.value.errors[0][0] == "observations"
    with pytest.raises(ClientError, match="numbers"):
        client.invert("oscillator", ["a"])


def test_submit_wait_and_as_completed(client: Client, observations: np.ndarray) -> None:
    jobs = [client.submit("oscillator", row) for row in observations[:4]]
    finished = list(client.as_completed(jobs))
    assert {job.id for job in finished} == {job.id for job in jobs}
    assert all(job.status == "succeeded" for job in finished)


def test_wait_can_time_out_and_the_job_be_canceled(client: Client, observations: np.ndarray) -> None:
    job = client.submit("oscillator", np.tile(observations, (5, 1)), method="gd", options=SLOW)
    with pytest.raises(WaitTimeout):
        client.wait(job, timeout_s=0.3)
    client.cancel(job)
    with pytest.raises(JobFailed, match="canceled"):
        client.result(client.wait(job, timeout_s=200))
    client.purge(job)


def test_models_and_examples(client: Client) -> None:
    assert "oscillator" in [card["name"] for card in client.models()]
    assert client.model("oscillator")["unknown"]["shape"] == [5]
    assert len(client.examples("oscillator")["observations"]) > 0


def test_the_asynchronous_twin(service: Service, observations: np.ndarray) -> None:
    async def work() -> tuple[np.ndarray, set[str], set[str]]:
        async with AsyncClient(service.url) as client:
            both = await asyncio.gather(*(client.invert("oscillator", row) for row in observations[:2]))
            jobs = [await client.submit("oscillator", row) for row in observations[:3]]
            finished = {job.id async for job in client.as_completed(jobs)}
            return np.concatenate([result.x for result in both]), finished, {job.id for job in jobs}

    x, finished, submitted = asyncio.run(work())
    assert x.shape == (2, 5)
    assert finished == submitted


def test_both_clients_offer_the_same() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)
    for name in public(Client) - {"close"}:
        mine, theirs = (inspect.signature(getattr(kind, name)) for kind in (Client, AsyncClient))
        assert mine.parameters == theirs.parameters, name
        assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__, name


class Moody(BaseHTTPRequestHandler):
    """Refuses twice, once with 503 and once by hanging up, then answers; notes what it was sent."""

    seen: ClassVar[list[str | None]] = []
    moods: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Moody.seen.append(self.headers["Idempotency-Key"])
        mood = Moody.moods.pop(0) if Moody.moods else "answer"
        if mood == "hang up":
            self.connection.close()
            return
        self.send_response(202 if mood == "answer" else int(mood))
        content = json.dumps(DOCUMENT if mood == "answer" else {"title": "Busy", "detail": "later"}).encode()
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


_TIMES = dict.fromkeys(("created_at", "started_at", "finished_at", "expires_at", "error"))
DOCUMENT = {
    "id": "1",
    "kind": "invert",
    "model": "m",
    "status": "queued",
    "progress": {"done": 0, "total": 1},
    **_TIMES,
}


def test_the_bar_says_what_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(True) as see:
        time.sleep(0.15)  # tqdm draws ten times a second
        see(read_job({**DOCUMENT, "kind": "deblur", "progress": {"done": 3, "total": 4}}))
    assert re.search(r"deblurring:  75%.* 3/4 .*tile", capsys.readouterr().err)


@pytest.fixture
def moody() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Moody.seen.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


QUICK = Retries(attempts=4, first_delay_s=0.01)


def test_refusals_are_retried_under_one_idempotency_key(moody: str) -> None:
    Moody.moods[:] = ["503", "429", "hang up"]
    with Client(moody, retries=QUICK) as client:
        assert client.submit("m", [1.0]).id == "1"
    assert len(Moody.seen) == 4
    assert len(set(Moody.seen)) == 1
    assert Moody.seen[0]


def test_patience_ends(moody: str) -> None:
    Moody.moods[:] = ["503"] * 4
    with Client(moody, retries=QUICK) as client, pytest.raises(Problem, match="503"):
        client.submit("m", [1.0])
    assert len(Moody.seen) == 4


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:9", retries=QUICK) as client, pytest.raises(Unreachable):
        client.models()
