"""docker-compose.yml on a real engine: `make containers` (needs Docker with Compose, and port 8000).

Builds the CPU image, makes a key as docs/deployment.md says, starts two workers, asks for an answer, kills a worker in
the middle of a job, takes everything down with work waiting and starts it again. Leaves the image and nothing else.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from service.client import Client, ClientError

ROOT = Path(__file__).resolve().parents[2]
URL = "http://127.0.0.1:8000"
PROJECT = "deceptron-check"
SLOW_MODEL, ROWS = "allen_cahn2d", 200


def compose(*words: str) -> str:
    """What one call of Compose prints; raises CalledProcessError."""
    command = ["docker", "compose", "--progress", "quiet", "--project-name", PROJECT, "--profile", "cpu", *words]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return ran.stdout.strip()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what is done, and how long it took."""
    began = time.monotonic()
    yield
    sys.stdout.write(f"{what}: {time.monotonic() - began:.1f} s\n")
    sys.stdout.flush()


def start() -> None:
    """All containers, until the service says that it is ready."""
    compose("up", "--detach", "--no-build", "--scale", "worker=2")
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if httpx.get(f"{URL}/health/ready").json()["status"] == "ready":
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"not ready within two minutes; {compose('logs', '--tail', '20')}")


def locked_down() -> None:
    """No container of ours is root, none can write to its root."""
    for service in ("api", "worker"):
        assert compose("exec", "-T", service, "id", "-u") == "10001"
        ran = compose("exec", "-T", service, "sh", "-c", "touch /here 2>/dev/null && echo written || echo refused")
        assert ran == "refused", service


def answers(client: Client) -> None:
    """Examples come back, judged."""
    found = client.invert("oscillator", np.array(client.examples("oscillator")["observations"]))
    assert [item.diagnostics.verdict for item in found.items if item.diagnostics][:2] == ["in_range", "in_range"]


def work(client: Client) -> str:
    """A job of some ten seconds of one core, under way."""
    one = np.array(client.examples(SLOW_MODEL)["observations"][:1])
    job = client.submit(SLOW_MODEL, np.tile(one, (ROWS, 1)))
    while client.job(job).status == "queued":
        time.sleep(0.2)
    return job.id


def whole(client: Client, job: str) -> None:
    """Nothing was lost."""
    found = client.result(client.wait(job, 300))
    items = found.items  # type: ignore[union-attr]  # one method was asked for
    assert len(items) == ROWS
    assert not any(item.error for item in items)


def main(built: bool) -> None:
    """Raises AssertionError, CalledProcessError, TimeoutError or ClientError where something is not as promised."""
    if not built:
        with step("image built"):
            compose("build", "worker")
    try:
        key = compose("run", "--rm", "--no-deps", "-T", "api", "keys", "create", "check")
        with step("two workers ready"):
            start()
        locked_down()
        with Client(URL, key=key) as client, step("answered, locked down"):
            answers(client)
        with Client(URL, key=key) as client, step("a worker killed in the middle of a job, nothing lost"):
            job = work(client)
            first = json.loads(compose("ps", "worker", "--format", "json").splitlines()[0])["Name"]
            subprocess.run(["docker", "kill", first], check=True, stdout=subprocess.DEVNULL)
            whole(client, job)
        with Client(URL, key=key) as client, step("taken down with a job under way, started again, nothing lost"):
            job = work(client)
            compose("down")
            start()
            whole(client, job)
    finally:
        compose("down", "--volumes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run docker-compose.yml on this machine's engine, and try it.")
    parser.add_argument("--built", action="store_true", help="the image is there already")
    try:
        main(parser.parse_args().built)
    except ClientError as error:
        sys.exit(str(error))
