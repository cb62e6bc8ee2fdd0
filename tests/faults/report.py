"""What a soak found, as a table to read and as JSON."""

import json
import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.faults.load import Ledger

LONGEST_RECOVERY_S = 45.0
TITLES = {
    "worker_kills": "SIGKILL of a worker",
    "server_kills": "SIGKILL of the queue server",
    "network_faults": "network fault",
    "drains": "SIGTERM of a busy worker",
    "api_kills": "SIGKILL of the API",
}
TEXT = """# Soak

Written by `make soak` (`tests/faults/soak.py`). Every accepted item is followed to its end, fetched twice and compared
with what an undisturbed solver gives for it.

{made}, {machine}, seed {seed}.

{verdict}

| fault | queue server | faults | items accepted | succeeded | not | chunks run again | refused meanwhile | recovery |
|---|---|---|---|---|---|---|---|---|
{rows}

In all {faults} faults and {items} items: {outcomes}.

- Recovery (median / longest). A killed worker: until everything it held is booked by others (lease {lease_s} s). The
  queue server and the API: until `/health/ready` is green again; the server is started once its absence shows there.
  A drain: until the worker is gone.
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
    ledger: Ledger = field(default_factory=Ledger)


@dataclass
class Report:
    """The phases of a soak, in order."""

    made: datetime
    seed: int
    lease_s: float
    phases: list[Phase]

    def failures(self) -> list[str]:
        """A sentence for everything that is not as promised."""
        return [f"{phase.name} ({phase.server}): {problem}" for phase in self.phases for problem in _failures(phase)]

    def document(self) -> dict[str, Any]:
        system = f"{platform.system()} {platform.machine()}"
        return {
            "made": self.made.isoformat(timespec="seconds"),
            "seed": self.seed,
            "lease_s": self.lease_s,
            "machine": f"{system}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "failures": self.failures(),
            "phases": [_phase(phase) for phase in self.phases],
        }

    def markdown(self) -> str:
        document = self.document()
        outcomes = sum((Counter(phase["items"]) for phase in document["phases"]), Counter[str]())
        wrong = "\n".join(f"- {failure}" for failure in document["failures"])
        return TEXT.format(
            **{key: document[key] for key in ("made", "machine", "seed", "lease_s")},
            verdict=f"**Not as promised:**\n\n{wrong}" if wrong else "Everything as promised.",
            rows="\n".join(_row(phase) for phase in document["phases"]),
            faults=sum(phase["faults"] for phase in document["phases"]),
            items=outcomes.total(),
            outcomes=", ".join(f"{number} {outcome}" for outcome, number in outcomes.items()),
        )

    def write(self, folder: Path) -> None:
        """soak.md and soak.json in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "soak.md").write_text(self.markdown())
        (folder / "soak.json").write_text(json.dumps(self.document(), indent=1) + "\n")


def _failures(phase: Phase) -> list[str]:
    found = list(phase.ledger.problems)
    accepted, checked = phase.ledger.items(), sum(phase.ledger.outcomes.values())
    if checked != accepted:
        found.append(f"{accepted} items accepted, {checked} accounted for")
    if phase.name == "worker_kills" and max(phase.recovery_s) > LONGEST_RECOVERY_S:
        found.append(f"a recovery took {max(phase.recovery_s):.1f} s")
    if phase.name == "drains" and phase.redelivered:
        found.append(f"{phase.redelivered} chunks were run again")
    if strange := set(phase.ledger.refused) - {0, 429, 503}:
        found.append(f"answered {sorted(strange)}")
    return found


def _phase(phase: Phase) -> dict[str, Any]:
    ordered = sorted(phase.recovery_s)
    return {
        "fault": phase.name,
        "server": phase.server,
        "faults": phase.faults,
        "mid_batch": phase.mid_batch,
        "items_accepted": phase.ledger.items(),
        "items": dict(phase.ledger.outcomes),
        "chunks_run_again": phase.redelivered,
        "items_given_up": phase.given_up,
        "refused": {str(status) if status else "no answer": n for status, n in sorted(phase.ledger.refused.items())},
        "recovery_median_s": round(ordered[len(ordered) // 2], 2) if ordered else None,
        "recovery_longest_s": round(ordered[-1], 2) if ordered else None,
        "seconds": round(phase.seconds, 1),
    }


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
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"
