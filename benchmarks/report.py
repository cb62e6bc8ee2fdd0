"""A benchmark's outcome: Markdown for people, JSON with every row for machines."""

import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Measured
from training.run import git_commit


@dataclass
class Report:
    """Sections of text and tables, in order, and the rows behind them."""

    name: str
    command: str
    sections: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def text(self, text: str) -> None:
        """Adds a paragraph."""
        self.sections.append(text)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Adds a Markdown table."""
        lines = [f"### {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        self.sections.append("\n".join(lines))

    def keep(self, model: str, repeat: int, measured: Measured) -> None:
        """Keeps every row of a measurement."""
        self.rows.append(
            {
                "model": model,
                "repeat": repeat,
                "method": measured.method,
                "seconds": measured.seconds,
                "x": measured.x.tolist(),
                "converged": measured.converged.tolist(),
                "at_noise_level": measured.at_noise_level.tolist(),
                "iterations": measured.iterations.tolist(),
            }
        )

    def machine(self) -> dict[str, Any]:
        """Where and on what this was measured."""
        return {
            "commit": git_commit(),
            "device": "cpu",
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        }

    def markdown(self) -> str:
        """The whole report."""
        machine = ", ".join(f"{name} {value}" for name, value in self.machine().items())
        return "\n\n".join([f"## {self.name}", f"`{self.command}` ({machine})", *self.sections]) + "\n"

    def write(self, directory: Path) -> None:
        """NAME.md and NAME.json under the directory."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.name}.md").write_text(self.markdown())
        document = {"name": self.name, "command": self.command, "machine": self.machine(), "rows": self.rows}
        (directory / f"{self.name}.json").write_text(json.dumps(document))


def spread(values: list[float], digits: int = 3) -> str:
    """Median of the repeats, with their range where there are several."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    if len(ordered) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({ordered[0]:.{digits}f} to {ordered[-1]:.{digits}f})"
