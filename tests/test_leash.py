"""What a run leaves behind ends with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests import leash
from tests.service.conftest import wait_for

ROOT = Path(__file__).parents[1]
RUN = """
import subprocess, time
from tests import leash
leash.hold()
subprocess.Popen(["bash", "-c", "sleep 600 & wait"], start_new_session=True)
print(leash.os.environ[leash.MARK], flush=True)
time.sleep(600)
"""


def test_the_children_of_a_killed_run_end() -> None:
    """Also those in a session of their own, and what they started themselves."""
    env = {name: value for name, value in os.environ.items() if name != leash.MARK}
    with subprocess.Popen([sys.executable, "-c", RUN], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        mark = run.stdout.readline().strip()
        wait_for(lambda: len(list(leash.marked(mark))) == 2)  # bash and its sleep
        run.send_signal(signal.SIGKILL)
    wait_for(lambda: not list(leash.marked(mark)), 100)


def test_who_will_not_end_is_killed_and_others_are_left_alone() -> None:
    program = ["bash", "-c", "trap '' TERM; echo ready; while true; do sleep 0.05; done"]
    ours, theirs = (
        subprocess.Popen(program, env={**os.environ, leash.MARK: mark}, stdout=subprocess.PIPE)
        for mark in ("one run", "one run and another")
    )
    for process in (ours, theirs):
        assert process.stdout
        process.stdout.readline()
    leash.end("one run", 0.2)
    assert ours.wait(60) == -signal.SIGKILL
    assert theirs.poll() is None
    theirs.kill()
    theirs.wait()
    for process in (ours, theirs):
        process.stdout.close()  # type: ignore[union-attr]


def test_this_run_is_held() -> None:
    assert os.environ[leash.MARK]
