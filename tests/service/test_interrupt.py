"""Large work through the client: ten thousand observations in one call, and giving up on them."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from service.client import AsyncClient, Client, Options
from tests.service.conftest import DECEPTRON, ROOT, Service, wait_for

ENDLESS = Options(max_iterations=3000, tolerance=1e-12)
COUNT = 10_000

SCRIPT = """
import sys
import numpy as np
from service.client import Client, Options

class Telling(Client):
    def wait(self, job, timeout_s=None):
        print(job.id, flush=True)
        return super().wait(job, timeout_s)

options = Options(max_iterations=3000, tolerance=1e-12)
Telling(sys.argv[1]).invert("oscillator", np.load(sys.argv[2]), method="gd", options=options)
"""


def test_ten_thousand_in_one_call(
    service: Service, observations: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.tile(observations, (COUNT // len(observations), 1))
    with Client(service.url, progress=True) as client:
        result = client.invert("oscillator", rows, method="oneshot")
    assert result.x.shape == (COUNT, 5)
    assert np.isfinite(result.x).all()
    bar = capsys.readouterr().err
    seen = [int(done) for done in re.findall(rf"(\d+)/{COUNT} ", bar)]
    assert seen, bar
    assert seen == sorted(seen)


def test_ctrl_c_cancels_the_job(service: Service, client: Client, observations: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    np.save(file, np.tile(observations, (12, 1)))
    words = [sys.executable, "-c", SCRIPT, service.url, str(file)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        job = process.stdout.readline().strip()
        assert job
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=200)
    assert "KeyboardInterrupt" in complaints
    wait_for(lambda: client.job(job).status == "canceled", 200)


def test_a_canceled_task_cancels_the_job(service: Service, client: Client, observations: np.ndarray) -> None:
    class Telling(AsyncClient):
        job = ""

        async def wait(self, job, timeout_s=None):  # type: ignore[no-untyped-def]
            self.job = job.id
            return await super().wait(job, timeout_s)

    async def give_up() -> str:
        async with Telling(service.url) as asynchronous:
            rows = np.tile(observations, (12, 1))
            task = asyncio.create_task(asynchronous.invert("oscillator", rows, method="gd", options=ENDLESS))
            deadline = time.monotonic() + 200
            while not asynchronous.job and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return asynchronous.job

    job = asyncio.run(give_up())
    wait_for(lambda: client.job(job).status == "canceled", 200)


def completions(typed: str) -> list[str]:
    """What a Tab in bash offers after `typed`."""
    words = typed.split(" ")
    asked = {"_CLI_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    code = "from service.cli import cli; cli.main(prog_name='deceptron', complete_var='_CLI_COMPLETE')"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **asked}, capture_output=True)
    return [line.removeprefix("plain,") for line in ran.stdout.decode().split()]


def test_completion_offers_commands_and_models(service: Service) -> None:
    assert completions("deceptron ser") == ["serve"]
    assert {"heat1d", "heat3d"} <= set(completions("deceptron invert he"))
    assert completions(f"deceptron invert --url {service.url} oscillator-") == ["oscillator-paper"]
    assert completions("deceptron invert --url http://127.0.0.1:9 osc") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    ran = subprocess.run([*DECEPTRON, "completion", shell], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0
    assert f"_DECEPTRON_COMPLETE={shell}_complete" in ran.stdout
