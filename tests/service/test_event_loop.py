"""The API's event loop never works for long at a stretch, whatever is sent: watched in a real server under load."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.arrays import encode_npy
from service.metrics.loop import EVERY_S, LoopWatch
from tests.service.conftest import MAX_WAIT_S, Service

LONGEST_S = 0.25  # CPU time, which a busy machine does not stretch much: the interval, and room for one longer step
WORK = "deceptron_event_loop_work_seconds"


def counts(text: str) -> tuple[float, float]:
    """How many looks there were, and before how many of them the loop had worked at most LONGEST_S."""
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return samples[f"{WORK}_count", None], samples[f"{WORK}_bucket", f"{LONGEST_S}"]


def metrics(service: Service) -> str:
    return httpx.get(f"{service.url}/metrics", timeout=60, trust_env=False).text


def test_the_loop_turns_while_large_bodies_are_read_and_large_results_written(
    service: Service, observations: np.ndarray
) -> None:
    """Bodies of 5 to 16 MB that end in a mistake cost the API all their reading and the worker nothing."""
    wrong = np.zeros((60_000, 64), np.float32)
    wrong[-1, -1] = np.nan
    numbers = json.dumps({"model": "oscillator", "observations": [*np.ones((12_000, 64)).tolist(), [1.0]]}).encode()
    good, npy, as_json = (
        encode_npy(observations),
        {"content-type": "application/x-npy"},
        {"content-type": "application/json"},
    )

    def post(body: bytes, headers: dict[str, str]) -> int:
        with httpx.Client(base_url=service.url, timeout=MAX_WAIT_S + 20, trust_env=False) as client:
            query = {} if headers is as_json else {"model": "oscillator", "method": "oneshot"}
            answer = client.post("/invert", content=body, params=query, headers=headers)
            if answer.status_code == 202:
                job = client.get(answer.headers["location"], params={"wait": MAX_WAIT_S})
                client.get(job.json()["links"]["result"])
            return answer.status_code

    before = counts(metrics(service))
    work = [(encode_npy(wrong), npy), (numbers, as_json), (good, npy)] * 4
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda pair: post(*pair), work))
    assert statuses == [422, 422, 202] * 4
    time.sleep(2 * EVERY_S)
    after = counts(metrics(service))
    looks, short = after[0] - before[0], after[1] - before[1]
    assert looks > 10
    assert short == looks


@pytest.mark.parametrize(("busy_s", "seen"), [(0.0, 0), (1.5 * LONGEST_S, 1)])
def test_a_long_step_is_seen(busy_s: float, seen: int) -> None:
    registry = CollectorRegistry()

    async def step() -> None:
        watching = asyncio.create_task(LoopWatch(registry).run())
        await asyncio.sleep(EVERY_S / 2)
        until = time.thread_time() + busy_s
        while time.thread_time() < until:
            pass
        await asyncio.sleep(3 * EVERY_S)
        watching.cancel()

    asyncio.run(step())
    looks, short = counts(generate_latest(registry).decode())
    assert looks - short == seen
