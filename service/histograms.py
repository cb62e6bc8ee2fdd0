"""How calibration scores are spread, as consoles and boards draw it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from trust.ranks import TIE

BINS = 40
HEAVY = 5.0  # a tail that reaches this many medians is shown on a logarithmic axis


def histograms(model: str, version: int, names: Sequence[str], scores: Tensor) -> dict[str, Any]:
    """One of each column of scores (N, S)."""
    columns = zip(names, scores.T.double().numpy(), strict=True)
    spread = {name: _histogram(column) for name, column in columns}
    return {"model": model, "version": version, "items": len(scores), "scores": spread}


def _histogram(values: np.ndarray) -> dict[str, Any]:
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    if high - low <= TIE * abs(high):  # scores that close are ties: one bin says so
        return {"edges": [low, float(values.max())], "counts": [len(values)], "spacing": "linear"}
    heavy = low > 0 and high > HEAVY * float(np.median(values))
    spaced = np.geomspace if heavy else np.linspace
    edges = spaced(low, high, BINS + 1)
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
    return {"edges": edges.tolist(), "counts": counts.tolist(), "spacing": "geometric" if heavy else "linear"}
