"""Whatever comes together, and with full batches overlapping: every item ends exactly once."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from queue_bench import CONFIG, LIMITS, Bench, Steps, parts_of

from service.queue.connection import connect_async
from service.queue.jobs import Chunk, JobStore, NewJob

pytestmark = pytest.mark.anyio

DAY_S = 86_400.0
EIGHTS = replace(CONFIG, batch_items=8, overlap_up_to_s=DAY_S)
PATIENT = replace(LIMITS, lease_s=DAY_S)
CHUNKS = st.lists(st.integers(1, 6), min_size=1, max_size=9)  # the items of each
JOBS = st.lists(st.tuples(CHUNKS, st.sampled_from("AB")), min_size=1, max_size=6)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=JOBS, workers=st.integers(1, 2), failing=st.sampled_from(["", "decode", "solve", "encode"]))
async def test_every_item_ends_exactly_once(
    bench: Bench, jobs: list[tuple[list[int], str]], workers: int, failing: str
) -> None:
    """Whatever sizes and specs come together, and whichever step of the first chunk fails."""

    def react(step: str, payloads: Sequence[bytes]) -> None:
        if step == failing and b"0:0" in payloads:
            raise ValueError("no such thing")

    client = connect_async(bench.url)
    store, crew = JobStore(client, PATIENT, bench.keys), [Steps(react) for _ in range(workers)]
    made = []
    for number, (sizes, spec) in enumerate(jobs):
        chunks = tuple(Chunk(b"%d:%d" % (number, index), items) for index, items in enumerate(sizes))
        made.append((await store.submit(NewJob("invert", "toy", spec, chunks, None, "d")), sizes))
    with ExitStack() as stack:
        for steps in crew:
            stack.enter_context(bench.worker(steps, PATIENT, EIGHTS))
        ended = [await store.wait(submitted.job_id, 60) for submitted, _ in made]
    for number, ((submitted, sizes), status) in enumerate(zip(made, ended, strict=True)):
        lost = sizes[0] if failing and number == 0 else 0
        assert (status.finished, status.done) == (True, sum(sizes))
        echoes = [parts.get("echo") for parts in await parts_of(store, submitted.job_id)]
        assert echoes == [None if lost and not index else b"%d:%d" % (number, index) for index in range(len(sizes))]
    encoded = sum((steps.times("encode") for steps in crew), Counter[bytes]())
    assert failing or set(encoded.values()) == {1}
    depth = await store.depth()
    assert (depth.items, depth.bytes, depth.chunks, bench.pending()) == (0, 0, 0, 0)
    await store.close()
    await client.aclose()
