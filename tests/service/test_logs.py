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


def test_machines_get_one_json_object_a_line() -> None:
    run = subprocess.run([sys.executable, "-c", LOG], capture_output=True, text=True, timeout=60, check=True)
    solved, started, failed = map(json.loads, run.stderr.splitlines())
    assert (solved["event"], solved["items"], solved["process"], solved["level"]) == ("solved", 3, "worker", "info")
    assert (started["event"], started["logger"]) == ("started", "uvicorn.error")
    assert "color_message" not in started
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError"


def test_a_person_at_a_terminal_gets_words() -> None:
    reader, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", LOG], stderr=terminal, timeout=60, check=True)
    os.close(terminal)
    seen = os.read(reader, 1 << 16).decode()
    os.close(reader)
    assert "solved" in seen
    assert "ZeroDivisionError" in seen
    assert not any(line.startswith("{") for line in seen.splitlines())
