"""Two processes that train together (gloo, through torchrun) take the steps that one process takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.deceptron import Deceptron
from tests.training.tiny import PROBLEM, items, recipe
from training.recipes import Recipe, Stage, Weights
from training.run import fit
from training.team import Team, join_team

SCRIPT = """
import sys
from pathlib import Path

from safetensors.torch import save_file

from tests.training.test_team import chosen
from tests.training.tiny import PROBLEM, items
from training.run import fit
from training.team import join_team

out, team = Path(sys.argv[1]), join_team("cpu")
assert team.size == 2
model = fit(PROBLEM, chosen(), items(), 3, out / "resume", quiet=True, team=team)
save_file(model.state_dict(), out / f"{team.rank}.safetensors")
team.wait()
"""


def chosen() -> Recipe:
    """A recipe whose loss draws nothing at random, so that one and two processes can be compared."""
    stages = (
        Stage("f", 12, Weights(task=1.0), ("f",), 1e-2),
        Stage("g", 12, Weights(reconstruction=1.0), ("g",), 1e-2, "cosine"),
    )
    return recipe(stages=stages)


def test_a_process_without_torchrun_is_alone() -> None:
    team = join_team("cpu")
    assert (team.size, team.leads, team.device) == (1, True, "cpu")
    assert team.share(torch.arange(5)).tolist() == [0, 1, 2, 3, 4]


def test_rows_are_shared_equally_and_all_of_them() -> None:
    shares = [Team(rank, 3).share(torch.arange(9)).tolist() for rank in range(3)]
    assert sorted(row for share in shares for row in share) == list(range(9))
    assert {len(share) for share in shares} == {3}
    with pytest.raises(ValueError, match="cannot be shared by 2"):
        Team(0, 2).share(torch.arange(9))


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [*torchrun, str(tmp_path / "train.py"), str(tmp_path)],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    alone: Deceptron = fit(PROBLEM, chosen(), items(), 3, tmp_path / "alone", quiet=True)
    for name, value in alone.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-5)
