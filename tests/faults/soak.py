"""`make soak`: hundreds of kills, cuts and drains under load, and a report of what became of every accepted item.

Both kinds of queue server are soaked at the same time, each by a process of its own; after that come the crowds.
``--part`` runs some phases only; their rows in the report are replaced, the others stay.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.crowd import CROWDS
from tests.faults.load import Known, known
from tests.faults.report import TITLES, Phase, add, read
from tests.faults.servers import binaries
from tests.faults.stand import Stand, stand
from tests.faults.strikes import STRIKES
from tests.faults.traffic import Traffic
from tests.service.conftest import alive

SETTINGS = {"DECEPTRON_CHUNK_ITEMS": "16", "DECEPTRON_BATCH_ITEMS": "64", "DECEPTRON_INLINE_ITEMS": "0"}
SETTINGS |= {"DECEPTRON_OVERLAP": "on"}  # where the queue fills no batch, work goes its other way all the same
LEASE = {"DECEPTRON_LEASE_S": "10"}  # the default
# A killed chunk is soon tried again: for the short version in the test suite.
SHORT_LEASE = {"DECEPTRON_LEASE_S": "3", "DECEPTRON_HEARTBEAT_S": "0.25", "DECEPTRON_RECLAIM_EVERY_S": "0.25"}
ITEMS_A_KILL = 100
Say = Callable[[str], None]


@dataclass(frozen=True)
class Counts:
    """How often each fault strikes; halved between the two kinds of queue server."""

    worker_kills: int = 200
    machine_deaths: int = 8
    server_kills: int = 50
    network_faults: int = 100
    drains: int = 50
    api_kills: int = 10

    def share(self, among: int, scale: float = 1.0) -> "Counts":
        return Counts(*(max(1, -(-round(scale * value) // among)) for value in vars(self).values()))


@contextmanager
def watched(phase: Phase, say: Say) -> Iterator[None]:
    """A line every ten seconds; an error that ends the phase early is told in the report, and not raised."""
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
    except Exception as error:
        phase.problems.append(f"ended early: {type(error).__name__}: {error}")
    finally:
        stop.set()
        thread.join()
        phase.seconds = time.monotonic() - started
        longest = max(phase.recovery_s, default=0.0)
        say(f"{phase.server} {phase.name}: {phase.faults} in {phase.seconds:.0f} s, longest recovery {longest:.1f} s")
        for failure in phase.failures():
            say(f"  NOT AS PROMISED {failure}")


def run_phase(name: str, count: int, here: Stand, server: str, answers: Known, seed: int, say: Say) -> Phase:
    """Strikes ``count`` times under load, then waits for every accepted item."""
    phase = Phase(name, server)
    redelivered, given_up = here.noted("redelivered"), here.noted("poisoned")
    with watched(phase, say):
        with Traffic(here, answers, phase.ledger, seed) as traffic:
            STRIKES[name](here, phase, count, random.Random(seed))
            least = here.items_a_kill * count if name == "worker_kills" else 0
            while phase.ledger.items() < least and not traffic.failed:
                time.sleep(0.1)
        assert all(alive(pid) for pid in (here.api, *here.workers)), "a process ended that nobody had killed"
    phase.redelivered = here.noted("redelivered") - redelivered
    phase.given_up = here.noted("poisoned") - given_up
    return phase


def run(counts: Counts, server: str, seed: int, say: Say, parts: Sequence[str], short: bool = False) -> Iterator[Phase]:
    """The phases that ``parts`` names, on one kind of queue server."""
    names = [name for name in vars(counts) if name in parts]
    if not names:
        return
    answers, lease = known(), SHORT_LEASE if short else LEASE
    with (
        tempfile.TemporaryDirectory(prefix="soak") as folder,
        stand(binaries()[server], Path(folder) / "stand", pause_s=0.05, **SETTINGS, **lease) as here,
    ):
        here.pace_s, here.backlog_items, here.items_a_kill = (0.2, 200, 0) if short else (1.0, 1000, ITEMS_A_KILL)
        for name in names:
            yield run_phase(name, getattr(counts, name), here, server, answers, seed, say)


def run_crowds(server: str, parts: Sequence[str], say: Say) -> Iterator[Phase]:
    """Crowds of clients, on a service that nobody hurts meanwhile."""
    names = [name for name in CROWDS if name in parts]
    if not names:
        return
    with (
        tempfile.TemporaryDirectory(prefix="soak") as folder,
        stand(binaries()[server], Path(folder) / "stand") as here,
    ):
        for name in names:
            phase = Phase(name, server)
            with watched(phase, say):
                CROWDS[name](here, phase)
            yield phase


def soak(given: argparse.Namespace) -> int:
    """One process a kind of queue server, then the crowds; 0 when everything is as promised."""
    words = [sys.executable, "-m", "tests.faults.soak", "--out", str(given.out), "--seed", str(given.seed)]
    words += ["--scale", str(given.scale), *(["--short"] if given.short else [])]
    words += [word for part in given.part for word in ("--part", part)]
    children = [subprocess.Popen([*words, "--server", server]) for server in binaries()]
    ended = [child.wait() for child in children]
    for phase in run_crowds("embedded", given.part, _say("http")):
        add(phase.document(), given.out)
    failures = [failure for phase in read(given.out) for failure in phase["failures"]]
    print((given.out / "soak.md").read_text(), flush=True)
    return 1 if failures or any(ended) else 0


def soak_one(given: argparse.Namespace) -> int:
    """The phases on one kind of queue server, each booked as soon as it has ended."""
    counts = Counts().share(len(binaries()), given.scale)
    failed = False
    for phase in run(counts, given.server, given.seed, _say(given.server), given.part, given.short):
        add(phase.document(), given.out)
        failed |= bool(phase.failures())
    return int(failed)


def _say(who: str) -> Say:
    started = time.monotonic()
    return lambda line: print(f"[{who} {time.monotonic() - started:4.0f} s] {line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=list(TITLES), help="only this phase; may be repeated")
    parser.add_argument("--server", choices=list(binaries()), help="only this kind of queue server, and no crowds")
    parser.add_argument("--scale", type=float, default=1.0, help="this share of the full counts")
    parser.add_argument("--short", action="store_true", help="short leases and little room between faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="where soak.md and soak.json are kept")
    given = parser.parse_args()
    given.part = given.part or list(TITLES)
    raise SystemExit(soak_one(given) if given.server else soak(given))


if __name__ == "__main__":
    main()
