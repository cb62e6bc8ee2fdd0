"""A stand-in for a solve on a device: it only waits, so that the processor is free for what overlap puts beside it.

Everything else is the product's own: the worker, its queue, the decoding, and the encoding of real answers.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.arrays import encode_npy
from service.handler import SolveHandler
from service.inference import Answer, Inference, SolveSpec
from service.queue.connection import connect_async
from service.queue.embedded import EmbeddedServer
from service.queue.jobs import JobStore
from service.queue.keys import Keys
from service.queue.records import Chunk, Limits, NewJob
from service.queue.worker import Worker, WorkerConfig


class Waiting(SolveHandler):
    """Waits for so long per batch, then gives the answers that ``y`` was given once."""

    def __init__(self, inference: Inference, spec: SolveSpec, y: np.ndarray, device_s: float) -> None:
        super().__init__(inference)
        self._answers = inference.solve(spec, y)
        self._device_s = device_s
        self.ended: list[float] = []

    def solve(self, spec: str, decoded: Sequence[np.ndarray]) -> tuple[list[Answer], list[int]]:
        time.sleep(self._device_s)
        self.ended.append(time.perf_counter())
        return self._answers, [len(block) for block in decoded]


def seconds_a_batch(handler: Waiting, spec: str, chunk: np.ndarray, batches: int, batch: int, overlap: bool) -> float:
    """From the end of the first solve to that of the last, over the batches between."""
    with tempfile.TemporaryDirectory(prefix="dq") as folder, EmbeddedServer(Path(folder)) as server:
        keys = Keys(f"bench-{secrets.token_hex(4)}:")
        job_id = asyncio.run(_submit(server.url, keys, spec, chunk, batches * batch // len(chunk)))
        config = WorkerConfig(batch_items=batch, overlap_up_to_s=60.0 if overlap else 0.0)
        worker = Worker(server.url, handler, config, Limits(), {"device": "none", "engine": "none"}, keys)
        handler.ended.clear()
        asyncio.run(_run(worker, server.url, keys, job_id))
    return (handler.ended[-1] - handler.ended[0]) / (len(handler.ended) - 1)


async def _submit(url: str, keys: Keys, spec: str, chunk: np.ndarray, chunks: int) -> str:
    client = connect_async(url)
    store = JobStore(client, Limits(), keys)
    payload = Chunk(encode_npy(chunk), len(chunk))
    submitted = await store.submit(NewJob("invert", "heat1d", spec, (payload,) * chunks, None, ""))
    await store.close()
    await client.aclose()
    return submitted.job_id


async def _run(worker: Worker, url: str, keys: Keys, job_id: str) -> None:
    client = connect_async(url)
    store = JobStore(client, Limits(), keys)
    running = asyncio.create_task(asyncio.to_thread(worker.run))
    await store.wait(job_id, 300)
    worker.stop()
    await running
    await store.close()
    await client.aclose()
