"""`make soak`: hundreds of kills, cuts and drains under load, and a report of what became of every accepted item."""

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.load import Known, known
from tests.faults.report import Phase, Report
from tests.faults.servers import binaries
from tests.faults.stand import Stand, alive, stand
from tests.faults.strikes import STRIKES
from tests.faults.traffic import Traffic

SETTINGS = {"DECEPTRON_CHUNK_ITEMS": "16", "DECEPTRON_BATCH_ITEMS": "64", "DECEPTRON_INLINE_ITEMS": "0"}
LEASE = {"DECEPTRON_LEASE_S": "10"}  # the default
# A killed chunk is soon tried again: for the short version in the test suite.
SHORT_LEASE = {"DECEPTRON_LEASE_S": "1", "DECEPTRON_HEARTBEAT_S": "0.25", "DECEPTRON_RECLAIM_EVERY_S": "0.25"}


@dataclass(frozen=True)
class Counts:
    """How often each fault strikes; halved between the two kinds of queue server."""

    worker_kills: int = 200
    server_kills: int = 50
    network_faults: int = 100
    drains: int = 50
    api_kills: int = 10

    def share(self, among: int) -> "Counts":
        return Counts(*(-(-value // among) for value in vars(self).values()))


@contextmanager
def progress(phase: Phase, say: Callable[[str], None]) -> Iterator[None]:
    """A line every ten seconds."""
    stop, started = threading.Event(), time.monotonic()

    def lines() -> None:
        while not stop.wait(10.0):
            done = sum(phase.ledger.outcomes.values())
            at = f"{time.monotonic() - started:.0f} s"
            say(f"  {phase.name}: {phase.faults} faults, {phase.ledger.items()} items accepted, {done} checked, {at}")

    thread = threading.Thread(target=lines)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        phase.seconds = time.monotonic() - started


def run_phase(
    name: str, count: int, here: Stand, server: str, answers: Known, seed: int, say: Callable[[str], None]
) -> Phase:
    """Strikes ``count`` times under load, then waits for every accepted item."""
    phase = Phase(name, server)
    redelivered, given_up = here.noted("redelivered"), here.noted("poisoned")
    with progress(phase, say), Traffic(here, answers, phase.ledger, seed):
        STRIKES[name](here, phase, count, random.Random(seed))
    phase.redelivered = here.noted("redelivered") - redelivered
    phase.given_up = here.noted("poisoned") - given_up
    assert all(alive(pid) for pid in (here.api, *here.workers))
    return phase


def run(counts: Counts, seed: int, say: Callable[[str], None], short: bool = False) -> Report:
    """All phases, once for each kind of queue server on this machine."""
    answers, found = known(), binaries()
    settings = {**SETTINGS, **(SHORT_LEASE if short else LEASE)}
    report = Report(datetime.now(UTC), seed, float(settings["DECEPTRON_LEASE_S"]), [])
    for server, binary in found.items():
        with (
            tempfile.TemporaryDirectory(prefix="soak") as folder,
            stand(binary, Path(folder) / "stand", pause_s=0.05, **settings) as here,
        ):
            here.pace_s, here.backlog_items = (0.2, 200) if short else (1.0, 2000)
            for name, count in vars(counts.share(len(found))).items():
                say(f"{server}: {count} {name}")
                report.phases.append(run_phase(name, count, here, server, answers, seed, say))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="this share of the full counts")
    parser.add_argument("--short", action="store_true", help="short leases and little room between faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write soak.md and soak.json here")
    given = parser.parse_args()
    counts = Counts(*(max(1, round(given.scale * value)) for value in vars(Counts()).values()))
    report = run(counts, given.seed, lambda line: print(line, flush=True), given.short)
    print(report.markdown())
    if given.out:
        report.write(given.out)
    raise SystemExit(1 if report.failures() else 0)


if __name__ == "__main__":
    main()
