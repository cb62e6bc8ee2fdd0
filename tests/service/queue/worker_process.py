"""A real worker in its own process; what it does with a payload is written in the payload.

Payloads: ``die`` (SIGKILL to itself), ``raise``, ``until:FILE`` (goes on once that
file is there), anything else is echoed. Each payload is first noted in the run log, a line each.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from service.queue.keys import Keys
from service.queue.neighbours import Neighbours
from service.queue.records import Limits
from service.queue.worker import Outcome, Worker, WorkerConfig


def main() -> None:
    setup = json.loads(sys.argv[1])
    run_log = Path(setup["run_log"])

    def handle(spec: str, payloads: Sequence[bytes]) -> list[Outcome]:
        with run_log.open("ab", buffering=0) as lines:
            for payload in payloads:
                lines.write(b"%d %s\n" % (len(payloads), payload))
        for payload in payloads:
            act(payload)
        return [Outcome({"echo": payload, "pid": str(os.getpid()).encode()}, 0) for payload in payloads]

    worker = Worker(
        setup["url"],
        handle,
        WorkerConfig(**setup["config"]),
        Limits(**setup["limits"]),
        {"device": "cpu", "engine": "test", "models": "a,b"},
        Keys(setup["prefix"]),
        neighbours=Neighbours(Path(setup["folder"]), setup["prefix"]),
    )
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()


def act(payload: bytes) -> None:
    if payload == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload == b"raise":
        raise RuntimeError("asked to")
    while payload.startswith(b"until:") and not Path(payload[6:].decode()).exists():
        time.sleep(0.005)


if __name__ == "__main__":
    main()
