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

from service.queue.batching import Staged
from service.queue.keys import Keys
from service.queue.neighbours import Neighbours
from service.queue.records import Limits
from service.queue.worker import Outcome, Worker, WorkerConfig


class Acting(Staged):
    """Notes what it is given to decode in a file of its own."""

    def __init__(self, run_log: Path) -> None:
        self.run_log = run_log

    def decode(self, spec: str, payload: bytes) -> bytes:
        with self.run_log.with_name("decoded.log").open("ab", buffering=0) as lines:
            lines.write(payload + b"\n")
        return payload

    def solve(self, spec: str, decoded: Sequence[bytes]) -> Sequence[bytes]:
        with self.run_log.open("ab", buffering=0) as lines:
            for payload in decoded:
                lines.write(b"%d %s\n" % (len(decoded), payload))
        for payload in decoded:
            act(payload)
        return decoded

    def encode(self, spec: str, solved: Sequence[bytes]) -> list[Outcome]:
        return [Outcome({"echo": payload, "pid": str(os.getpid()).encode()}, 0) for payload in solved]


def main() -> None:
    setup = json.loads(sys.argv[1])
    worker = Worker(
        setup["url"],
        Acting(Path(setup["run_log"])),
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
