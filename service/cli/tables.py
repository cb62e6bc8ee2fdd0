"""Text for terminals: aligned tables and a small plot."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from service.client.types import Item


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a table; the first row is its head."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def item_rows(items: Sequence[Item]) -> list[list[Any]]:
    """Head and one row per item: what happened, and whether to believe it."""
    rows: list[list[Any]] = [["item", "status", "solved by", "iterations", "residual/noise", "rjcp", "p", "verdict"]]
    for i, item in enumerate(items):
        scores = item.diagnostics
        shown = (scores.residual_to_noise, scores.rjcp, scores.p_value, scores.verdict) if scores else (None,) * 4
        outcome = item.error or shown[3]
        rows.append([i, item.status, item.solved_by, item.iterations, *shown[:3], outcome])
    return rows


def plot(observed: np.ndarray, fitted: np.ndarray, height: int = 13) -> list[str]:
    """Two curves over the same abscissa: o observed, + reconstructed, * both in one cell."""
    low, high = min(observed.min(), fitted.min()), max(observed.max(), fitted.max())
    scale = (height - 1) / max(high - low, 1e-12)
    canvas = [[" "] * len(observed) for _ in range(height)]
    for column, (a, b) in enumerate(zip(observed, fitted, strict=True)):
        row_a, row_b = (height - 1 - round((value - low) * scale) for value in (a, b))
        canvas[row_a][column] = "o"
        canvas[row_b][column] = "*" if row_a == row_b else "+"
    labels = {0: f"{high:7.3f}", height - 1: f"{low:7.3f}"}
    return [f"{labels.get(i, ''):>7} |{''.join(row)}" for i, row in enumerate(canvas)]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
