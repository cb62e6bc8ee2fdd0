"""The soak of `make soak`, short: every kind of fault, both kinds of queue server, and every accepted item followed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.faults.goals import goals
from tests.faults.load import Accepted
from tests.faults.report import Phase, add, read
from tests.faults.servers import binaries
from tests.faults.soak import Counts, run
from tests.faults.strikes import STRIKES


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("server", sorted(binaries()))
def test_nothing_is_lost_under_any_fault(server: str) -> None:
    counts = Counts(worker_kills=2, machine_deaths=1, server_kills=1, network_faults=3, drains=1, api_kills=1)
    phases = list(run(counts, server, seed=0, say=lambda line: None, parts=list(STRIKES), short=True))
    assert [phase.name for phase in phases] == list(STRIKES)
    for phase in phases:
        # How long a recovery takes is the machine's affair here; `make soak` judges it.
        assert [failure for failure in phase.failures() if "a recovery took" not in failure] == []
        assert phase.ledger.items() > 0
        assert phase.ledger.outcomes == Counter(succeeded=phase.ledger.items())
        assert phase.given_up == 0
    kills = next(phase for phase in phases if phase.name == "worker_kills")
    assert kills.redelivered > 0  # the kills struck work


def fallen_short() -> Phase:
    phase = Phase("drains", "debian", faults=1, redelivered=2, recovery_s=[0.1])
    phase.ledger.accepted.append(Accepted("job", np.arange(3)))
    phase.ledger.outcomes.update(failed=2)
    phase.ledger.problems.append("job: failed (why)")
    phase.ledger.refused[500] = 1
    return phase


def test_the_report_tells_what_is_not_as_promised(tmp_path: Path) -> None:
    late = Phase("worker_kills", "debian", faults=1, recovery_s=[46.0])
    slow = Phase("slow_clients", "embedded", ratio=2.5, problems=["ended early: AssertionError: why"])
    for phase in (fallen_short(), late, slow):
        add(phase.document(), tmp_path)
    assert [failure for phase in read(tmp_path) for failure in phase["failures"]] == [
        "worker_kills (debian): a recovery took 46.0 s",
        "drains (debian): job: failed (why)",
        "drains (debian): 3 items accepted, 2 accounted for",
        "drains (debian): 2 chunks were run again",
        "drains (debian): answered [500]",
        "slow_clients (embedded): ended early: AssertionError: why",
        "slow_clients (embedded): other clients' p95 rose to 2.50 times",
    ]
    page = (tmp_path / "soak.md").read_text()
    assert "- drains (debian): job: failed (why)" in page
    assert page.count("| missed |") == 7


def test_a_phase_that_is_run_again_takes_its_place(tmp_path: Path) -> None:
    add(fallen_short().document(), tmp_path)
    add(Phase("drains", "embedded", faults=1).document(), tmp_path)
    add(Phase("drains", "debian", faults=50, recovery_s=[0.5]).document(), tmp_path)
    assert [(phase["server"], phase["faults"]) for phase in read(tmp_path)] == [("debian", 50), ("embedded", 1)]
    page = (tmp_path / "soak.md").read_text()
    assert "Everything as promised." in page
    assert {goal[:9]: holds for goal, _, holds in goals(read(tmp_path))}["50 drains"]
