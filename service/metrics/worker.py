"""A worker's own /metrics: what it solved, how strange that was, and how long it took."""

import errno
import socket
from collections import Counter as Counting
from collections.abc import Mapping, Sequence

import numpy as np
import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from service.metrics.histogram import QuantileHistogram, Values, quantile_edges
from service.queue.window import Sample
from service.settings import SettingsError

VERDICTS = ("in_range", "suspect", "out_of_range", "error")
WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104
_RESIDUALS = (0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
log = structlog.get_logger(__name__)


class WorkerMetrics:
    """One registry and everything in it. ``info``: device, engine, version."""

    def __init__(self, info: Mapping[str, str]) -> None:
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(namespace="deceptron", registry=registry)
        Info("deceptron_worker", "What this worker computes with.", registry=registry).info(dict(info))
        self.rjcp = QuantileHistogram("deceptron_rjcp", "RJCP of the answers; edges are the calibrated quantiles.")
        registry.register(self.rjcp)
        self.items = Counter("deceptron_items", "Items solved, by verdict.", ["model", "verdict"], registry=registry)
        self.residual = Histogram(
            "deceptron_residual_to_noise",
            "RMS residual over the noise.",
            ["model"],
            buckets=_RESIDUALS,
            registry=registry,
        )
        self.compute = Histogram(
            "deceptron_compute_seconds",
            "Seconds a batch took, by stage: solve or diagnose.",
            ["model", "stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queued = Histogram(
            "deceptron_queue_seconds", "Seconds a chunk waited for a worker.", buckets=_SECONDS, registry=registry
        )
        self.batch = Histogram("deceptron_batch_items", "Items solved as one batch.", buckets=_ITEMS, registry=registry)
        self.redeliveries = Counter("deceptron_redeliveries", "Chunks run again after a failure.", registry=registry)
        self.poisoned = Counter("deceptron_poisoned_items", "Items given up with their chunk.", registry=registry)

    def serve(self, host: str, port: int) -> str:
        """Answer GET /metrics from a thread; the address to scrape. A taken port is left for any free one.

        Raises SettingsError: this machine does not have that address.
        """
        try:
            server, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingsError(f"DECEPTRON_METRICS_HOST: cannot listen on {host}: {error.strerror}") from None
            log.warning("metrics port is taken; using another", host=host, port=port)
            server, _ = start_http_server(0, host, self.registry)
        name = socket.gethostname() if host in WILDCARDS else host
        return f"[{name}]:{server.server_port}" if ":" in name else f"{name}:{server.server_port}"

    def knows(self, model: str, version: str) -> bool:
        return self.rjcp.knows(model, version)

    def expect(self, model: str, version: str, calibration: Values) -> None:
        """Begins a model's series at zero: a rate needs a first value. ``calibration``: its calibration RJCP (N,)."""
        self.rjcp.add(model, version, quantile_edges(calibration))
        self.residual.labels(model)
        for verdict in VERDICTS:
            self.items.labels(model, verdict)
        for stage in ("solve", "diagnose"):
            self.compute.labels(model, stage)

    def answered(self, model: str, version: str, samples: Sequence[Sample], errors: int) -> None:
        """Counts the answers of a batch, and the items that have none."""
        self.rjcp.observe(model, version, np.array([sample.rjcp for sample in samples], dtype=np.float64))
        residual = self.residual.labels(model)
        for sample in samples:
            residual.observe(sample.residual_to_noise)
        for verdict, count in Counting([sample.verdict for sample in samples]).items():
            self.items.labels(model, verdict).inc(count)
        self.items.labels(model, "error").inc(errors)
