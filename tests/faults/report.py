"""What a soak found: written after each phase, as JSON and as a page to read, so that an abort keeps what was seen."""

import fcntl
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.goals import LONGEST_RECOVERY_S, MOST_SLOWER, goals
from tests.faults.load import Ledger

TITLES = {
    "worker_kills": "SIGKILL of a worker",
    "machine_deaths": "SIGKILL of a worker elsewhere",
    "server_kills": "SIGKILL of the queue server",
    "network_faults": "network fault",
    "drains": "SIGTERM of a busy worker",
    "api_kills": "SIGKILL of the API",
    "same_key": "1,000 POSTs at once, one Idempotency-Key",
    "slow_clients": "200 slow clients",
}
TEXT = """# Soak

Written by `make soak` (`tests/faults/soak.py`) after each phase. Every accepted item is followed to its end, fetched
twice and compared with what an undisturbed solver gives for it.

{machine}; the phases ended between {first} and {last}, and took {minutes:.0f} minutes if run one after the other.

{verdict}

| goal | seen | |
|---|---|---|
{goals}

| fault | queue server | faults | accepted | succeeded | not | chunks run again | refused meanwhile | recovery | took |
|---|---|---|---|---|---|---|---|---|---|
{rows}

{remarks}

- Recovery (median / longest). A killed worker: until everything it held is booked by others. Workers on one machine
  see each other die at once; of one elsewhere they only learn when its lease has run out (10 s). The queue server and
  the API: until `/health/ready` is green again; the server is started once its absence shows there. A drain: until the
  worker is gone. Accepted and succeeded count items.
- Killed workers are replaced by forking a process that has all loaded. Under `deceptron serve` a new worker takes some
  seconds more to load torch and the models; the other workers go on meanwhile.
- Refused: a POST or GET was answered so, and repeated with the same Idempotency-Key until it was served; "no answer"
  is a connection that was cut.
- Network faults, in turn on the workers' and on the API's side: cut, truncated answers, partition, silence, 0.2 s of
  delay; and a stalled server (SIGSTOP).
"""


@dataclass
class Phase:
    """One kind of fault, and what was seen while it struck."""

    name: str
    server: str
    faults: int = 0
    mid_batch: int = 0
    recovery_s: list[float] = field(default_factory=list)
    redelivered: int = 0
    given_up: int = 0
    seconds: float = 0.0
    ratio: float | None = None  # slow clients: others' p95 with them, in units of the p95 without
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    def failures(self) -> list[str]:
        """A sentence for everything that is not as promised."""
        found = [*self.problems, *self.ledger.problems]
        accepted, checked = self.ledger.items(), sum(self.ledger.outcomes.values())
        if checked != accepted:
            found.append(f"{accepted} items accepted, {checked} accounted for")
        if self.name in ("worker_kills", "machine_deaths") and max(self.recovery_s, default=0.0) > LONGEST_RECOVERY_S:
            found.append(f"a recovery took {max(self.recovery_s):.1f} s")
        if self.name == "drains" and self.redelivered:
            found.append(f"{self.redelivered} chunks were run again")
        if self.ratio is not None and self.ratio > MOST_SLOWER:
            found.append(f"other clients' p95 rose to {self.ratio:.2f} times")
        if strange := set(self.ledger.refused) - {0, 429, 503}:
            found.append(f"answered {sorted(strange)}")
        return [f"{self.name} ({self.server}): {problem}" for problem in found]

    def document(self) -> dict[str, Any]:
        """The phase in JSON."""
        ordered = sorted(self.recovery_s)
        refused = {str(status) if status else "no answer": n for status, n in sorted(self.ledger.refused.items())}
        return {
            "fault": self.name,
            "server": self.server,
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "faults": self.faults,
            "mid_batch": self.mid_batch,
            "items_accepted": self.ledger.items(),
            "items": dict(self.ledger.outcomes),
            "chunks_run_again": self.redelivered,
            "items_given_up": self.given_up,
            "refused": refused,
            "recovery_median_s": round(ordered[len(ordered) // 2], 2) if ordered else None,
            "recovery_longest_s": round(ordered[-1], 2) if ordered else None,
            "seconds": round(self.seconds, 1),
            "ratio": self.ratio,
            "remarks": self.remarks,
            "failures": self.failures(),
        }


def add(phase: dict[str, Any], folder: Path) -> None:
    """Books a phase in soak.json and soak.md, in place of an earlier run of the same; two soaks may do so at once."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        others = [one for one in read(folder) if (one["fault"], one["server"]) != (phase["fault"], phase["server"])]
        order = list(TITLES)
        phases = sorted([*others, phase], key=lambda one: (order.index(one["fault"]), one["server"]))
        _replace(folder / "soak.json", json.dumps({"phases": phases}, indent=1) + "\n")
        _replace(folder / "soak.md", markdown(phases))
    finally:
        os.close(lock)


def read(folder: Path) -> list[dict[str, Any]]:
    """The phases that soak.json tells of."""
    path = folder / "soak.json"
    phases: list[dict[str, Any]] = json.loads(path.read_text())["phases"] if path.exists() else []
    return phases


def markdown(phases: Sequence[dict[str, Any]]) -> str:
    """The page of these phases."""
    wrong = [f"- {failure}" for phase in phases for failure in phase["failures"]]
    times = sorted(phase["ended"] for phase in phases)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return TEXT.format(
        machine=machine,
        first=times[0],
        last=times[-1],
        minutes=sum(phase["seconds"] for phase in phases) / 60,
        verdict="\n".join(["**Not as promised:**", "", *wrong]) if wrong else "Everything as promised.",
        goals="\n".join(
            f"| {goal} | {seen} | {'holds' if holds else 'missed'} |" for goal, seen, holds in goals(phases)
        ),
        rows="\n".join(_row(phase) for phase in phases),
        remarks="\n".join(f"- {remark}" for phase in phases for remark in phase["remarks"]),
    )


def _row(phase: dict[str, Any]) -> str:
    good = phase["items"].get("succeeded", 0)
    recovery = [phase["recovery_median_s"], phase["recovery_longest_s"]]
    cells = [
        TITLES[phase["fault"]],
        phase["server"],
        f"{phase['faults']}, {phase['mid_batch']} mid-batch" if phase["mid_batch"] else phase["faults"],
        phase["items_accepted"],
        good,
        phase["items_accepted"] - good,
        phase["chunks_run_again"],
        ", ".join(f"{n} x {status}" for status, n in phase["refused"].items()) or "none",
        f"{recovery[0]} / {recovery[1]} s" if recovery[0] is not None else "",
        f"{phase['seconds']:.0f} s",
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
