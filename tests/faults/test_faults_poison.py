"""Items that kill, hang or eat memory fail by themselves, with a reason; the others in their request are answered."""

from pathlib import Path

import httpx
import numpy as np
import pytest

from service.arrays import encode_npy
from tests.faults.hurtful import BLINDING, DIE, EAT, HANG
from tests.faults.load import Load, known
from tests.faults.servers import binaries
from tests.faults.soak import SHORT_LEASE
from tests.faults.stand import MODEL, stand

ITEMS, LIMIT_S = 200, 8.0
GUILTY = {17: DIE, 101: EAT, 199: HANG}


@pytest.mark.slow
@pytest.mark.timeout(900)
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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_picture_that_kills_fails_alone(tmp_path: Path) -> None:
    """It is tried in company, alone, and in quarantine; a picture that was only near gets its answer."""
    scene = np.random.default_rng(0).random((16, 16))
    pictures = [{"image": image.tolist(), "sigma": 1.0, "noise_std": 0.01} for image in (scene, scene.copy())]
    pictures[0]["image"][0][0] = BLINDING  # type: ignore[index]
    models = (MODEL, "deblur")
    with (
        stand(
            binaries()["embedded"], tmp_path / "stand", workers=1, kind="hurtful", models=models, **SHORT_LEASE
        ) as here,
        httpx.Client(base_url=here.url, timeout=60, trust_env=False) as http,
    ):
        jobs = [http.post("/deblur", json=picture).json()["id"] for picture in pictures]
        deaths, open_jobs = 0, set(jobs)
        while open_jobs:
            deaths += here.restart_dead_workers()
            ended = {job for job in open_jobs if http.get(f"/jobs/{job}?wait=0.2").json()["finished_at"]}
            open_jobs -= ended
        killer, innocent = (http.get(f"/jobs/{job}").json() for job in jobs)
    assert (killer["status"], innocent["status"]) == ("failed", "succeeded")
    assert "signal 9" in killer["error"]
    assert 1 <= deaths <= 2
    assert len((tmp_path / "stand" / "deaths.log").read_text().split()) == deaths + 1  # the last one in quarantine
