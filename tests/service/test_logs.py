"""What a log line looks like, to a machine and to a person."""

import json
import os
import pty
import subprocess
import sys

LOG = """
import logging, structlog
from service.logs import configure_logs
configure_logs("info", "worker")
structlog.get_logger("here").info("solved", items=3)
logging.getLogger("uvicorn.error").info("started", extra={"color_message": "\\x1b[36mstarted"})
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("here").exception("failed")
"""

SECRETS = ("hunter2", "hunter3", "S" * 43, "plainbearer", "hunter4")
LEAK = f"""
import logging, structlog
from service.logs import configure_logs
from service.settings import Settings
configure_logs("debug", "api")
settings = Settings(redis_url="rediss://user:hunter2@db:6379/0")
def fails(url):
    password = "hunter4"
    headers = [(b"authorization", b"Bearer dk_0123456789ab_{"S" * 43}")]
    raise ConnectionError("cannot reach redis://:hunter3@db:6379")
try:
    fails(settings.redis_url)
except ConnectionError:
    structlog.get_logger("here").exception("failed", settings=settings, sent="Bearer plainbearer")
logging.getLogger("other").error("what came: dk_0123456789ab_%s, %s", "{"S" * 43}", settings)
logging.getLogger("other").info("kept: a@b.example http://x/y@z")
"""


def test_machines_get_one_json_object_a_line() -> None:
    run = subprocess.run([sys.executable, "-c", LOG], capture_output=True, text=True, timeout=500, check=True)
    solved, started, failed = map(json.loads, run.stderr.splitlines())
    assert (solved["event"], solved["items"], solved["process"], solved["level"]) == ("solved", 3, "worker", "info")
    assert (started["event"], started["logger"]) == ("started", "uvicorn.error")
    assert "color_message" not in started
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError"


def test_a_person_at_a_terminal_gets_words() -> None:
    seen = run_on_terminal(LOG)
    assert "solved" in seen
    assert "ZeroDivisionError" in seen
    assert not any(line.startswith("{") for line in seen.splitlines())


def run_on_terminal(program: str) -> str:
    """What a program writes to a terminal that is its stderr."""
    reader, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", program], stderr=terminal, timeout=500, check=True)
    os.close(terminal)
    seen = os.read(reader, 1 << 16).decode()
    os.close(reader)
    return seen


def test_no_line_holds_a_secret() -> None:
    """Neither what somebody logged by mistake, nor what lay in a variable when something broke."""
    piped = subprocess.run([sys.executable, "-c", LEAK], capture_output=True, text=True, timeout=500, check=True).stderr
    for seen in (piped, run_on_terminal(LEAK)):
        assert "failed" in seen
        assert "a@b.example http://x/y@z" in seen
        assert not [secret for secret in SECRETS if secret in seen]
        assert "[hidden]" in seen
