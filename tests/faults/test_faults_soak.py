"""The soak of `make soak`, short: every kind of fault, both kinds of queue server, and every accepted item followed."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.faults.load import Accepted
from tests.faults.report import Phase, Report
from tests.faults.servers import binaries
from tests.faults.soak import Counts, run
from tests.faults.strikes import STRIKES


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_under_any_fault() -> None:
    counts = Counts(worker_kills=3, server_kills=1, network_faults=6, drains=1, api_kills=1)
    report = run(counts, seed=0, say=lambda line: None, short=True)
    # How long a recovery takes is the machine's affair here; `make soak` judges it.
    assert [failure for failure in report.failures() if "a recovery took" not in failure] == []
    assert {(phase.name, phase.server) for phase in report.phases} == {
        (name, server) for name in STRIKES for server in binaries()
    }
    for phase in report.phases:
        assert phase.ledger.items() > 0
        assert phase.ledger.outcomes == Counter(succeeded=phase.ledger.items())
        assert phase.given_up == 0
    kills = [phase for phase in report.phases if phase.name == "worker_kills"]
    assert all(phase.redelivered > 0 for phase in kills)  # the kills struck work


def test_the_report_tells_what_is_not_as_promised() -> None:
    phase = Phase("drains", "debian", faults=1, redelivered=2, recovery_s=[0.1])
    phase.ledger.accepted.append(Accepted("job", np.arange(3)))
    phase.ledger.outcomes.update(failed=2)
    phase.ledger.problems.append("job: failed (why)")
    phase.ledger.refused[500] = 1
    late = Phase("worker_kills", "debian", faults=1, recovery_s=[46.0])
    report = Report(datetime.now(UTC), 0, 10.0, [phase, late])
    assert report.failures() == [
        "drains (debian): job: failed (why)",
        "drains (debian): 3 items accepted, 2 accounted for",
        "drains (debian): 2 chunks were run again",
        "drains (debian): answered [500]",
        "worker_kills (debian): a recovery took 46.0 s",
    ]
    assert "**Not as promised:**\n\n- drains (debian): job: failed (why)" in report.markdown()
