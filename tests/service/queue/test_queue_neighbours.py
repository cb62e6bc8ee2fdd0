"""Workers on one machine see each other die; what they cannot see, they leave to the lease."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from queue_bench import LIMITS, Bench, Recorder, job, until

from service.queue.jobs import JobStore
from service.queue.neighbours import Neighbours

DAY_S = 86_400.0


@pytest.mark.anyio
async def test_a_death_next_door_needs_no_lease_to_run_out(bench: Bench, store: JobStore) -> None:
    patient = replace(LIMITS, lease_s=DAY_S)
    submitted = await store.submit(job(bench.held))
    process = bench.process(limits=patient)
    await asyncio.to_thread(until, lambda: bench.runs())
    with bench.worker(Recorder(), limits=patient):
        await asyncio.to_thread(until, lambda: len(list(bench.folder.glob("neighbours/*/*"))) == 2)
        process.kill()
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
        await asyncio.to_thread(until, lambda: len(bench.consumers()) == 1)
        await asyncio.to_thread(until, lambda: bench.client.zcard(bench.keys.workers))
        assert len(await store.workers()) == 1  # the dead one's registration would have lived for a day
    assert not list(bench.folder.glob("neighbours/*/*"))


def sign_and_die(folder: Path, queue: str, name: str) -> None:
    code = "import sys; from pathlib import Path; from service.queue.neighbours import Neighbours\n"
    code += "Neighbours(Path(sys.argv[1]), sys.argv[2]).join(sys.argv[3])"
    subprocess.run([sys.executable, "-c", code, str(folder), queue, name], check=True)


def test_only_the_dead_are_told_and_only_once(tmp_path: Path) -> None:
    living, watching = Neighbours(tmp_path, "q"), Neighbours(tmp_path, "q")
    living.join("living")
    sign_and_die(tmp_path, "q", "dead")
    sign_and_die(tmp_path, "another queue", "stranger")
    assert list(watching.dead()) == ["dead"]
    assert list(watching.dead()) == []
    living.leave("living")
    assert list(watching.dead()) == []


def test_who_fails_to_bury_leaves_the_dead_to_the_next(tmp_path: Path) -> None:
    sign_and_die(tmp_path, "q", "dead")
    watching = Neighbours(tmp_path, "q")
    with pytest.raises(RuntimeError, match="the queue is away"):
        bury(watching)
    assert list(Neighbours(tmp_path, "q").dead()) == ["dead"]


def bury(watching: Neighbours) -> None:
    for _ in watching.dead():
        raise RuntimeError("the queue is away")


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blind = Neighbours(tmp_path / "file", "q")
    blind.join("one")
    assert list(blind.dead()) == []
    blind.leave("one")
