"""A benchmark's outcome: Markdown and figures for people, JSON with every row for machines."""

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import goals
from benchmarks.charts import Figure, Picture
from benchmarks.goals import Goal
from benchmarks.measure import Measured
from solvers.solve import Rules
from training.data import Items
from training.run import git_commit

SIGNIFICANT_DIGITS = 7  # of the figures kept for machines: all that float32 has


@dataclass
class Report:
    """Sections of text, tables and figures, in order, and the rows behind them.

    ``machine`` is looked up when the run begins: by its end the checkout may have moved on.
    """

    name: str
    command: str
    sections: list[str | Figure | Picture] = field(default_factory=list)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=lambda: _machine())

    def text(self, text: str) -> None:
        """Adds a paragraph."""
        self.sections.append(text)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Adds a Markdown table under a heading."""
        self.sections.append(f"### {title}\n\n{markdown_table(columns, rows)}")

    def figure(self, figure: Figure) -> None:
        """Adds a figure; the Markdown links it once it has been drawn."""
        self.sections.append(figure)

    def picture(self, picture: Picture) -> None:
        """Adds a sheet of images; linked likewise, and not kept in the JSON."""
        self.sections.append(picture)

    def pictures(self) -> list[Picture]:
        """All sheets of images, in order."""
        return [section for section in self.sections if isinstance(section, Picture)]

    def figures(self) -> list[Figure]:
        """All figures, in order."""
        return [section for section in self.sections if isinstance(section, Figure)]

    def protocol(self, model: str, rules: Rules) -> None:
        """Notes the rules that every method was held to on a model."""
        self.rules[model] = asdict(rules)

    def keep(self, model: str, repeat: int, measured: Measured, items: Items, **more: Any) -> None:
        """Keeps every row of a measurement, failed ones too; x itself follows from the command, its error is kept."""
        truth = items.x[: len(measured.x)]
        self.keep_rows(
            model=model,
            repeat=repeat,
            method=measured.method,
            dtype=str(measured.x.dtype).removeprefix("torch."),
            seconds=measured.seconds,
            microseconds=dict(measured.microseconds),
            x_rmse=(measured.x.double() - truth.double()).square().mean(1).sqrt(),
            converged=measured.converged,
            at_noise_level=measured.at_noise_level,
            iterations=measured.iterations,
            **more,
        )

    def keep_rows(self, **fields: Any) -> None:
        """Keeps one entry of the JSON; a tensor becomes a list with one value a row."""
        self.rows.append({name: _plain(value) for name, value in fields.items()})

    def markdown(self, drawn: Sequence[str] = ()) -> str:
        """The whole report; figures appear where their PNG is among the names ``drawn``."""
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        parts = [f"## {self.name}", f"`{self.command}` ({machine})"]
        if self.goals:
            parts.append(f"### Goals\n\n{markdown_table(goals.COLUMNS, [goal.row() for goal in self.goals])}")
        for section in self.sections:
            if isinstance(section, str):
                parts.append(section)
            elif section.file in drawn:
                parts.append(f"![{section.caption}]({section.file})\n\n*{section.caption}*")
        return "\n\n".join(parts) + "\n"

    def write(self, directory: Path, drawn: Sequence[str] = ()) -> None:
        """NAME.md and NAME.json under the directory."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.name}.md").write_text(self.markdown(drawn))
        document = {
            "name": self.name,
            "command": self.command,
            "machine": self.machine,
            "rules": _plain(self.rules),
            "goals": [asdict(goal) for goal in self.goals],
            "rows": self.rows,
            "figures": [_plain(asdict(figure)) for figure in self.figures()],
        }
        (directory / f"{self.name}.json").write_text(json.dumps(document, allow_nan=False))


def _machine() -> dict[str, Any]:
    """Where and on what this is measured."""
    return {
        "commit": git_commit(),
        "device": "cpu",
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "dtype": "float32 unless a row says otherwise",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown has it."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _plain(value: Any) -> Any:
    """What JSON can hold: tensors as lists, figures at float32's digits, None for what is not finite."""
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    return value


def spread(values: list[float], digits: int = 3) -> str:
    """Median of the repeats, with their range where there are several."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    if len(ordered) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({ordered[0]:.{digits}f} to {ordered[-1]:.{digits}f})"


def significant(value: float, digits: int = 3) -> str:
    """Rounded to so many significant digits, without an exponent from a thousandth to a million."""
    if value == 0.0 or not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}" if value else "0"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def significant_spread(values: Sequence[float], digits: int = 3) -> str:
    """Median of the repeats, with their range where there are several, in significant digits."""
    ordered = sorted(values)
    middle = significant(ordered[len(ordered) // 2], digits)
    if len(ordered) == 1:
        return middle
    return f"{middle} ({significant(ordered[0], digits)} to {significant(ordered[-1], digits)})"
