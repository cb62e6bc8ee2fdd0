"""The process apart: forked from a copy of the worker, or started from nothing; what it answers and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service import mains
from service.arrays import encode_npy
from service.handler import WorkHandler
from service.parts import META
from service.settings import CHECKPOINTS, load_settings
from service.solve_spec import SolveSpec
from tests.service.conftest import ROOT

PROCESS = "tests.service.apart_process"
ENDING = """
import os, sys, time
from service.apart import Keeper
keeper = Keeper(lambda fd: (os.read(fd, 1), os._exit(7)))
child, other = keeper.start(), keeper.start()
child.line.send_bytes(b"go")
codes = [child.end(30.0), other.end()]
[copy] = map(int, open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split())
os.kill(copy, 9)
os.waitpid(copy, 0)
try:
    keeper.start()
except OSError as error:
    codes.append(type(error).__name__)
print(codes)
"""


@pytest.fixture
def checkpoints(tmp_path: Path) -> dict[str, str]:
    """An environment with few models, one of each kind."""
    for model in ("oscillator", "heat1d", "deblur"):
        (tmp_path / model).symlink_to(CHECKPOINTS / model)
    return {**os.environ, "DECEPTRON_CHECKPOINTS": str(tmp_path), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_it_runs_on_the_engine_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    (tmp_path / "heat1d").symlink_to(CHECKPOINTS / "heat1d")
    handlers = list[WorkHandler]()
    monkeypatch.setattr(mains, "configure_logs", lambda *_: None)
    monkeypatch.setattr(mains, "attend", lambda _fd, handler: handlers.append(handler))
    mains.run_quarantine(load_settings({"checkpoints": tmp_path, "engine": engine, "threads": 1}), -1)
    [outcome] = handlers[0](SolveSpec("heat1d", 1, ("auto",)).to_json(), [encode_npy(np.zeros((1, 64), np.float32))])
    assert json.loads(outcome.parts[META])["engine"] == engine


@pytest.mark.slow
@pytest.mark.parametrize("how", ["forked", "spawned"])
def test_answers_are_those_of_the_worker_to_the_bit(checkpoints: dict[str, str], how: str) -> None:
    command = [sys.executable, "-m", PROCESS, how]
    ran = subprocess.run(command, cwd=ROOT, env=checkpoints, capture_output=True, text=True, check=False, timeout=500)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["same"] == [[True], [True], [True]]
    assert "longer than 0 s" in told["late"]


def test_how_a_forked_process_ended_is_known() -> None:
    """By itself, killed, and not started at all once the copy is gone."""
    ran = subprocess.run([sys.executable, "-c", ENDING], cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert ran.stdout.split("\n")[0] == "[7, -9, 'BrokenPipeError']", ran.stderr
