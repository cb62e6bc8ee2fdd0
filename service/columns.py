"""Items as columns: one array a field, for protocols and tools that speak in arrays rather than in documents."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

Kind = Literal["number", "count", "text"]

COLUMNS: dict[str, Kind] = {
    "residual_rms": "number",
    "rjcp": "number",
    "p_value": "number",
    "iterations": "count",
    "status": "text",
    "verdict": "text",
}
"""Every field that has a value a row, beside x (B, n)."""


def column(items: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """One field of all items (B,); NaN, -1 or an empty string where an observation has no answer."""
    values = [item[name] if name in item else (item.get("diagnostics") or {}).get(name) for item in items]
    kind = COLUMNS[name]
    if kind == "text":
        return np.array([value or "" for value in values], dtype=object)
    if kind == "count":
        return np.array([-1 if value is None else value for value in values], dtype="<i8")
    return np.array([np.nan if value is None else value for value in values], dtype="<f8")
