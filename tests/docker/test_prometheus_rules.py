"""The shipped Prometheus files, by Prometheus' own tool."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docker" / "prometheus"
NEEDS_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="NO promtool HERE (Debian: apt-get install prometheus): this test did not run, and nothing else covers it",
)


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *words], cwd=FOLDER, capture_output=True, text=True, timeout=500)


@NEEDS_PROMTOOL
@pytest.mark.parametrize("words", [("check", "config", "prometheus.yml"), ("test", "rules", "tests/rules_test.yml")])
def test_shipped_files(words: tuple[str, ...]) -> None:
    ran = promtool(*words)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@NEEDS_PROMTOOL
def test_every_alert_has_a_test() -> None:
    alerts = [line.split()[-1] for line in (FOLDER / "rules/alerts.yml").read_text().splitlines() if "- alert:" in line]
    tests = (FOLDER / "tests/rules_test.yml").read_text()
    assert len(alerts) == 10
    untested = [alert for alert in alerts if f"alertname: {alert}\n        exp_alerts:" not in tests]
    assert not untested


@NEEDS_PROMTOOL
def test_a_broken_rule_is_seen(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "p")
    rules = tmp_path / "p/rules/alerts.yml"
    rules.write_text(rules.read_text().replace('state="critical"', 'state="warning"'))
    ran = subprocess.run(["promtool", "test", "rules", str(tmp_path / "p/tests/rules_test.yml")], capture_output=True)
    assert ran.returncode != 0
