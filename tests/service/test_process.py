"""A time limit holds beside and within others; the process has but one timer for them all."""

import signal
import subprocess
import sys

import pytest

WITHIN = """
with time_limit(0.2):
    with time_limit(60):
        pass
    time.sleep(60)
"""
BESIDE = """
def other():
    with time_limit(0.2):
        time.sleep(60)

threading.Thread(target=other, daemon=True).start()
with time_limit(60):
    time.sleep(60)
"""
OVER = """
with time_limit(60):
    with time_limit(30):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
"""
NONE_LEFT = """
with time_limit(0):
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("code", "ends"), [(WITHIN, -signal.SIGALRM), (BESIDE, -signal.SIGALRM), (NONE_LEFT, -signal.SIGALRM), (OVER, 0)]
)
def test_the_first_limit_that_runs_out_ends_the_process(code: str, ends: int) -> None:
    head = "import signal, threading, time\nfrom service.process import time_limit\n"
    assert subprocess.run([sys.executable, "-c", head + code], timeout=500).returncode == ends
