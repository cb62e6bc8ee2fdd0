"""A histogram with bucket edges of its own for each model (prometheus_client has one set a name): its quantiles."""

import threading
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
BEYOND = (3.0, 10.0)  # times the last quantile
APART = 1e-3  # edges closer than this, relative to the median, are one edge: rounding lies between them
Values = NDArray[np.float64]


def quantile_edges(calibration: Values) -> Values:
    """Ascending upper edges of the buckets. A constant (a linear g) gets an edge right below and right above."""
    quantiles = np.quantile(calibration, QUANTILES)
    step = APART * abs(float(np.median(calibration))) or APART
    if quantiles[-1] - quantiles[0] < step:
        middle = float(np.median(calibration))
        quantiles = np.array([middle - step, middle + step])
    edges = [float(quantiles[0])]
    for edge in (*quantiles[1:], *(factor * quantiles[-1] for factor in BEYOND)):
        if edge - edges[-1] >= step:
            edges.append(float(edge))
    return np.array([float(f"{edge:.6g}") for edge in edges])


class QuantileHistogram(Collector):
    """One histogram a model and version, each with edges of its own. Safe to share between threads."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name, self._documentation = name, documentation
        self._lock = threading.Lock()
        self._edges: dict[tuple[str, str], Values] = {}
        self._counts: dict[tuple[str, str], NDArray[np.int64]] = {}
        self._sums: dict[tuple[str, str], float] = {}

    def knows(self, model: str, version: str) -> bool:
        return (model, version) in self._edges

    def add(self, model: str, version: str, edges: Values) -> None:
        """Begins a histogram with these upper edges (K,)."""
        with self._lock:
            self._edges[model, version] = edges
            self._counts[model, version] = np.zeros(len(edges) + 1, dtype=np.int64)
            self._sums[model, version] = 0.0

    def observe(self, model: str, version: str, values: Values) -> None:
        """Counts values (B,); those that are not finite fall into the last bucket and not into the sum."""
        edges = self._edges[model, version]
        buckets = np.searchsorted(edges, np.nan_to_num(values, nan=np.inf, posinf=np.inf), side="left")
        with self._lock:
            self._counts[model, version] += np.bincount(buckets, minlength=len(edges) + 1)
            self._sums[model, version] += float(values[np.isfinite(values)].sum())

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=("model", "version"))
        with self._lock:
            for key, edges in self._edges.items():
                bounds = [floatToGoString(edge) for edge in (*edges, np.inf)]
                cumulative = np.cumsum(self._counts[key]).tolist()
                family.add_metric(key, list(zip(bounds, cumulative, strict=True)), self._sums[key])
        yield family
