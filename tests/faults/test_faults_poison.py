"""Items that kill, hang or eat memory fail by themselves, with a reason; the others in their request are answered."""

from pathlib import Path

import numpy as np
import pytest

from service.arrays import encode_npy
from tests.faults.hurtful import DIE, EAT, HANG
from tests.faults.load import Load, known
from tests.faults.servers import binaries
from tests.faults.soak import SHORT_LEASE
from tests.faults.stand import MODEL, stand

ITEMS, LIMIT_S = 200, 8.0
GUILTY = {17: DIE, 101: EAT, 199: HANG}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_only_the_guilty_fail(tmp_path: Path) -> None:
    """Three guilty items among 200 of one request: 197 answers, three reasons, at most two dead workers."""
    answers = known()
    rows = np.arange(ITEMS) % len(answers.y)
    y = answers.y[rows]
    for row, what in GUILTY.items():
        y[row, 0] = what
    limit = {"DECEPTRON_SOLVE_LIMIT_S": str(LIMIT_S)}
    with stand(binaries()["embedded"], tmp_path / "stand", workers=1, kind="hurtful", **SHORT_LEASE, **limit) as here:
        load = Load(here.url, answers)
        job = load.http.post(
            f"/invert?model={MODEL}", content=encode_npy(y), headers={"content-type": "application/x-npy"}
        )
        deaths, status = 0, job.json()
        while status["status"] in ("queued", "running"):
            status = load.http.get(f"/jobs/{job.json()['id']}?wait=0.2").json()
            deaths += here.restart_dead_workers()
        assert (status["status"], status["progress"]) == ("partial", {"done": ITEMS, "total": ITEMS})
        assert 1 <= deaths <= 2
        items = load.http.get(f"/jobs/{status['id']}/result").json()["items"]
        load.close()
    reasons = {i: item["error"]["detail"] for i, item in enumerate(items) if item["error"]}
    assert set(reasons) == set(GUILTY)
    assert "signal 9" in reasons[17]
    assert "MemoryError" in reasons[101]
    assert f"longer than {LIMIT_S:g} s" in reasons[199]
    innocent = [i for i in range(ITEMS) if i not in GUILTY]
    np.testing.assert_allclose([items[i]["x"] for i in innocent], answers.x[rows[innocent]], atol=1e-4)
