"""docs/results.md: what every benchmark came to, gathered from the reports beside it.

``--out docs/results`` keeps a report a benchmark in that folder, and beside the folder this page: an opening that
somebody wrote (``opening.txt``, where there is one), what was run when and for how long, and all goals.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.goals import COLUMNS, Goal
from benchmarks.report import Report, markdown_table

SUMMARY, OPENING = "summary.json", "opening.txt"


def record(report: Report, seconds: float, folder: Path) -> None:
    """Notes a run in the folder's summary and writes the page anew."""
    file = folder / SUMMARY
    summary: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    summary[report.name] = {
        "command": report.command,
        "commit": report.machine["commit"],
        "threads": report.machine["threads"],
        "seconds": round(seconds),
        "goals": [asdict(goal) for goal in report.goals],
    }
    file.write_text(json.dumps(summary, indent=1) + "\n")
    folder.with_suffix(".md").write_text(page(summary, folder))


def page(summary: Mapping[str, Any], folder: Path) -> str:
    """The Markdown."""
    opening = folder / OPENING
    parts = ["# Results", opening.read_text().strip()] if opening.exists() else ["# Results"]
    parts += [
        f"`deceptron bench all --out {folder.as_posix()}` writes this page, its opening apart; each report names its "
        "command, its machine and its rules, and has every table and figure.",
        _contents(summary, folder),
    ]
    for name, run in summary.items():
        goals = [Goal(**goal).row() for goal in run["goals"]]
        if goals:
            parts.append(f"## Goals of {name}\n\n`{run['command']}`\n\n{markdown_table(COLUMNS, goals)}")
    return "\n\n".join(parts) + "\n"


def _contents(summary: Mapping[str, Any], folder: Path) -> str:
    rows = []
    for name, run in summary.items():
        held = sum(goal["holds"] for goal in run["goals"])
        goals = f"{held} of {len(run['goals'])}" if run["goals"] else "-"
        minutes = f"{run['seconds'] / 60:.1f}"
        command = f"`{run['command']}`"
        rows.append([_linked(folder.name, name), command, run["commit"], str(run["threads"]), minutes, goals])
    rows += [[_linked(folder.name, file.stem), "", "", "", "", "-"] for file in _others(summary, folder)]
    total = sum(run["seconds"] for run in summary.values()) / 60
    rows.append(["all", "", "", "", f"{total:.1f}", ""])
    return markdown_table(["report", "command", "commit", "threads", "minutes", "goals that hold"], rows)


def _others(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Reports that were kept before there was a summary."""
    return [file for file in sorted(folder.glob("*.md")) if file.stem not in summary and file.name != OPENING]


def _linked(folder: str, name: str) -> str:
    return f"[{name}]({folder}/{name}.md)"
