"""The API's own /metrics: requests as they go by; the queue and the models as they stand when it is asked."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client import disable_created_metrics as without_created_series
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics.loop import LoopWatch
from service.queue.records import Depth, WorkerInfo
from service.rjcp import Report
from trust.drift import State

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
POINTS = ("median", "p95")


class ApiMetrics:
    """One registry and everything in it."""

    def __init__(self, version: str, commit: str) -> None:
        without_created_series()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(namespace="deceptron", registry=registry)
        Info("deceptron_api", "What is running.", registry=registry).info({"version": version, "commit": commit})
        by_route = ["method", "route"]
        self.requests = Counter(
            "deceptron_http_requests", "Requests answered.", [*by_route, "status"], registry=registry
        )
        self.seconds = Histogram(
            "deceptron_http_request_seconds", "Seconds to the last byte.", by_route, buckets=_SECONDS, registry=registry
        )
        self.loop = LoopWatch(registry)
        self.queue = QueueGauges(registry)
        self.models = ModelGauges(registry)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


class QueueGauges:
    """What waits, and who works."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge("deceptron_queue_up", "1 while the queue server answers.", registry=registry)
        self.items = Gauge("deceptron_queue_items", "Items waiting or running.", registry=registry)
        self.bytes = Gauge("deceptron_queue_bytes", "Payload bytes waiting or running.", registry=registry)
        self.chunks = Gauge("deceptron_queue_chunks", "Chunks waiting or running.", registry=registry)
        self.oldest = Gauge("deceptron_oldest_job_age_seconds", "Age of the oldest unfinished work.", registry=registry)
        self.limit_items = Gauge("deceptron_queue_limit_items", "Items that may queue.", registry=registry)
        self.limit_bytes = Gauge("deceptron_queue_limit_bytes", "Payload bytes that may queue.", registry=registry)
        self.workers = Gauge("deceptron_workers", "Live workers.", ["device", "engine"], registry=registry)

    def show(self, depth: Depth, workers: list[WorkerInfo]) -> None:
        """As it stands now."""
        self.up.set(1)
        self.items.set(depth.items)
        self.bytes.set(depth.bytes)
        self.chunks.set(depth.chunks)
        self.oldest.set(depth.oldest_s)
        self.workers.clear()
        for worker in workers:
            self.workers.labels(worker.device, worker.engine).inc()


class ModelGauges:
    """How each model stands: GET /health/rjcp as numbers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"deceptron_{name}", text, ["model", *labels], registry=registry)

        self.state = gauge("rjcp_state", "1 for the state that the model is in.", "state")
        self.since = gauge("rjcp_state_since_seconds", "Unix time at which this state began.")
        self.count = gauge("rjcp_window_items", "Answers in the window.")
        self.out_of_range = gauge("rjcp_out_of_range_ratio", "Share of the window that is out of range.")
        self.drift = gauge("rjcp_drift", "Kolmogorov-Smirnov distance from the calibration set.", "of")
        self.drift_p_value = gauge("rjcp_drift_p_value", "Probability of such a distance by chance.", "of")
        self.window = gauge("rjcp_window", "RJCP in the window.", "point")
        self.calibrated = gauge("rjcp_calibrated", "RJCP on the calibration set.", "point")
        moments = (self.state, self.since, self.count, self.window, self.calibrated)
        self._all = (*moments, self.out_of_range, self.drift, self.drift_p_value)

    def show(self, reports: dict[str, Report]) -> None:
        """As they stand now; what is unknown has no series."""
        for metric in self._all:
            metric.clear()
        for model, report in reports.items():
            self._show(model, report)

    def _show(self, model: str, report: Report) -> None:
        for state in State:
            self.state.labels(model, state).set(state == report.standing.state)
        self.since.labels(model).set(report.standing.since or 0.0)
        self.count.labels(model).set(report.assessment.count)
        document = report.document()
        for point in POINTS:
            self.calibrated.labels(model, point).set(document["calibration"][point])
        if report.assessment.count == 0:
            return
        self.out_of_range.labels(model).set(report.assessment.out_of_range)
        for point in POINTS:
            self.window.labels(model, point).set(document["rjcp"][point])
        if report.assessment.drift is None:
            return
        for what in ("rjcp", "p_values"):
            self.drift.labels(model, what).set(document["drift"][what]["statistic"])
            self.drift_p_value.labels(model, what).set(document["drift"][what]["p_value"])


class CountRequests:
    """ASGI middleware: counts and times requests by the route's template, never by the path that was asked for."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self.app, self.metrics = app, metrics
        self._counters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "unmatched")
            self._count(method, route, status, time.perf_counter() - started)

    def _count(self, method: str, route: str, status: int, seconds: float) -> None:
        counters = self._counters.get((method, route, status))
        if counters is None:  # to look them up by their labels takes longer than to count
            requests, times = self.metrics.requests, self.metrics.seconds
            counters = requests.labels(method, route, str(status)), times.labels(method, route)
            self._counters[method, route, status] = counters
        counters[0].inc()
        counters[1].observe(seconds)
