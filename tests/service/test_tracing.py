"""Traces: off without a trace of them; on, real spans in real OTLP/HTTP bytes, from a request to its items."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.queue.batching import Done, Entry, Finished, Outcome, Running
from service.results import Notes
from service.settings import Settings, SettingsError, load_settings
from service.tracing import start_traces
from service.tracing.spans import Traces
from tests.service.conftest import MAX_WAIT_S, ROOT, WAIT, start_service, stop_service, wait_for

SAMPLED = "00-{:032x}-{:016x}-01"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """An OTLP/HTTP collector that keeps what it is sent: (service.name, span) of each span."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.path == "/v1/traces"
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, sent: ExportTraceServiceRequest) -> None:
        for group in sent.resource_spans:
            service = next(a.value.string_value for a in group.resource.attributes if a.key == "service.name")
            self.spans += [(service, span) for scope in group.scope_spans for span in scope.spans]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def named(self, name: str) -> list[tuple[str, Any]]:
        return [(service, span) for service, span in list(self.spans) if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.close()


def facts(span: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value or a.value.double_value for a in span.attributes}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_request_is_followed_to_its_items(collector: Collector, tmp_path: Path, observation: np.ndarray) -> None:
    quick = {"OTEL_BSP_SCHEDULE_DELAY": "100", "DECEPTRON_MAX_WAIT_S": f"{MAX_WAIT_S}"}
    own = start_service(tmp_path, "--workers", "1", DECEPTRON_TRACES=collector.url, **quick)
    try:
        body = {"model": "oscillator", "observations": [observation.tolist(), (50 * observation).tolist()]}
        headers = {**WAIT, "traceparent": CALLER}
        with httpx.Client(base_url=own.url, timeout=MAX_WAIT_S + 20, trust_env=False) as http:
            job = http.post("/invert", json=body, headers=headers).json()
            http.get("/health/live")
            wait_for(lambda: all(collector.named(name) for name in ("queue", "solve", "batch", "POST /invert")))
            collector.close()  # one that is away costs nobody an answer, and does not keep the service from stopping
            assert http.post("/invert", json=body, headers=headers).json()["status"] == "succeeded"
    finally:
        stop_service(own)
    (by_api, request), (by_worker, solve) = collector.named("POST /invert")[0], collector.named("solve")[0]
    (_, queue), (_, batch) = collector.named("queue")[0], collector.named("batch")[0]
    assert (by_api, by_worker) == ("deceptron-api", "deceptron-worker")
    assert request.trace_id.hex() == queue.trace_id.hex() == solve.trace_id.hex() == CALLER.split("-")[1]
    assert request.parent_span_id.hex() == CALLER.split("-")[2]
    assert queue.parent_span_id == solve.parent_span_id == request.span_id
    assert [link.span_id for link in batch.links] == [request.span_id]
    assert [link.span_id for link in solve.links] == [batch.span_id]
    assert queue.end_time_unix_nano == solve.start_time_unix_nano == batch.start_time_unix_nano
    assert facts(request) == {
        "http.request.method": "POST",
        "url.path": "/invert",
        "http.route": "/invert",
        "http.response.status_code": 200,
        "deceptron.job": job["id"],
    }
    assert facts(batch)["deceptron.model"] == "oscillator"
    items = job["result"]["items"]
    assert [facts(event)["verdict"] for event in solve.events] == [i["diagnostics"]["verdict"] for i in items]
    assert facts(solve)["deceptron.verdict.out_of_range"] == 1
    assert not [span for _, span in collector.spans if "health" in span.name]
    # Whoever looks at the log finds the trace.
    assert any(f'"trace_id":"{CALLER.split("-")[1]}"' in line for line in own.log.read_text().splitlines())


def test_without_the_setting_nothing_is_imported() -> None:
    code = (
        "import sys, service.mains\n"
        "from service.app import create_app\n"
        "from service.settings import Settings\n"
        "app = create_app(Settings(redis_url='redis://127.0.0.1:9/0'))\n"
        "assert not [m.cls for m in app.user_middleware if m.cls.__name__ == 'TraceRequests']\n"
        "ours = ('service.tracing.spans', 'opentelemetry.exporter', 'opentelemetry.sdk.trace')\n"
        "sys.exit(any(name.startswith(ours) for name in sys.modules))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name == "service.tracing.spans" or name.startswith("opentelemetry"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    with pytest.raises(SettingsError, match="DECEPTRON_TRACES: needs the extra otel"):
        start_traces(Settings(traces="http://127.0.0.1:4318"), "api", "0")


def test_the_setting_is_an_address() -> None:
    with pytest.raises(SettingsError, match="DECEPTRON_TRACES"):
        load_settings({"traces": "localhost:4318"})


# ------------------------------------------------------------------------------------------------ batches, in memory


def batch(*traces: str) -> Finished:
    """A batch of one chunk of two items for each traceparent."""
    items = [{"iterations": 1, "diagnostics": {"verdict": word}} for word in ("in_range", "suspect")]
    outcome = Outcome({"x": b""}, 0, Notes([items], 0.1, 0.1))
    entries = [Entry("1000-0", f"job{i}:7", "s", 2, trace) for i, trace in enumerate(traces)]
    done = tuple(Done(Running(entry, 1, b""), outcome) for entry in entries)
    return Finished('{"model": "m", "version": 3, "methods": ["auto"]}', done, 2 * len(done), 2.0, 0.5)


def spans_of(finished: Finished) -> dict[str, list[Any]]:
    memory = InMemorySpanExporter()
    traces = Traces(SimpleSpanProcessor(memory), "worker", "1")
    traces.finished(finished)
    found: dict[str, list[Any]] = {}
    for span in memory.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    traces.close()
    return found


def test_a_batch_is_linked_with_every_request_it_holds() -> None:
    found = spans_of(batch(SAMPLED.format(1, 11), SAMPLED.format(2, 22)))
    (whole,) = found["batch"]
    assert [(link.context.trace_id, link.context.span_id) for link in whole.links] == [(1, 11), (2, 22)]
    assert whole.context.trace_id not in (1, 2)
    assert (whole.start_time, whole.end_time) == (2_000_000_000, 2_500_000_000)
    assert dict(whole.attributes)["deceptron.items"] == 4
    assert [(s.context.trace_id, s.parent.span_id) for s in found["solve"]] == [(1, 11), (2, 22)]
    assert [(s.start_time, s.end_time) for s in found["queue"]] == [(1_000_000_000, 2_000_000_000)] * 2
    assert dict(found["solve"][0].attributes)["deceptron.chunk"] == 7
    assert [event.attributes["verdict"] for event in found["solve"][1].events] == ["in_range", "suspect"]


def test_what_is_not_sampled_is_not_recorded() -> None:
    unsampled = SAMPLED.format(2, 22).removesuffix("01") + "00"
    found = spans_of(batch(SAMPLED.format(1, 11), unsampled, "", "nonsense"))
    assert [len(found[name]) for name in ("batch", "queue", "solve")] == [1, 1, 1]
    assert len(found["batch"][0].links) == 1
    assert spans_of(batch("", unsampled)) == {}


def test_sampling_of_requests_does_not_lose_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    assert set(spans_of(batch(SAMPLED.format(1, 11)))) == {"batch", "queue", "solve"}
