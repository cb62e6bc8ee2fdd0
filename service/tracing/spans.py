"""OpenTelemetry's SDK: the spans of requests, and those of the batches that hold them."""

import os
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.queue.batching import Done, Finished, Outcome
from service.results import Notes

_CARRIED = "traceparent"
_W3C = TraceContextTextMapPropagator()
_OF_AN_ANSWER = ("status", "solved_by", "iterations")
_OF_ITS_DIAGNOSTICS = ("verdict", "p_value", "rjcp", "residual_to_noise")
Facts = dict[str, str | int | float]


def exported_to(endpoint: str) -> SpanProcessor:
    """Spans go to an OTLP/HTTP collector, in batches, from a thread of their own."""
    return BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces"))


class Traces:
    """The spans of one process; the standard ``OTEL_*`` variables say the rest (resource, sampling, limits)."""

    def __init__(self, processor: SpanProcessor, process: str, version: str) -> None:
        instance = f"{socket.gethostname()}-{os.getpid()}"
        told = {"service.name": f"deceptron-{process}", "service.version": version, "service.instance.id": instance}
        resource = Resource.create(told)
        # A batch is recorded wherever a request is that it holds: that has been decided already.
        providers = (TracerProvider(resource=resource), TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False))
        for provider in providers:
            provider.add_span_processor(processor)
        self._requests, self._batches = (provider.get_tracer("deceptron", version) for provider in providers)
        self.close = providers[0].shutdown

    def begin_request(self, method: str, path: str, traceparent: str) -> "RequestSpan":
        """The span of a request, a child of its caller's where it brings one."""
        told = {"http.request.method": method, "url.path": path}
        return RequestSpan(self._requests.start_span(method, _context(traceparent), SpanKind.SERVER, told))

    def finished(self, batch: Finished) -> None:
        """As the worker's observer: a batch in a trace of its own, linked with what it means to each request in it."""
        chunks = [(done, _context(done.running.entry.trace)) for done in batch.booked]
        recorded = [(done, context) for done, context in chunks if _within(context).trace_flags.sampled]
        if not recorded:
            return
        began, ended = _nanoseconds(batch.began_at), _nanoseconds(batch.began_at + batch.compute_s)
        links = [Link(_within(context)) for _, context in recorded]
        span = self._batches.start_span("batch", Context(), attributes=_of_batch(batch), links=links, start_time=began)
        for done, context in recorded:
            self._chunk(done, context, span, began, ended)
        span.end(ended)

    def redelivered(self, chunks: int) -> None:
        """Nothing to record: they will be in a batch again."""

    def poisoned(self, items: int) -> None:
        """Nothing to record: the job's error says it."""

    def _chunk(self, done: Done, parent: Context, batch: Span, began: int, ended: int) -> None:
        """How long a chunk waited and who solved it, in the trace of its request; one event an item."""
        entry = done.running.entry
        job, _, index = entry.chunk.partition(":")
        told: Facts = {"deceptron.job": job, "deceptron.chunk": int(index), "deceptron.items": entry.items}
        queued = min(_nanoseconds(entry.queued_at), began)
        self._requests.start_span("queue", parent, attributes=told, start_time=queued).end(began)
        links = [Link(batch.get_span_context())]
        span = self._requests.start_span("solve", parent, attributes=told, links=links, start_time=began)
        events = list(_events(done.outcome))
        for name, count in Counter(event["verdict"] for event in events if "verdict" in event).items():
            span.set_attribute(f"deceptron.verdict.{name}", count)
        for event in events:
            span.add_event("item", event, ended)
        span.end(ended)


class RequestSpan:
    """A request on its way. ``traceparent``: what its job carries, so that a worker can add to the trace."""

    def __init__(self, span: Span) -> None:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(span))
        self._span = span
        self.traceparent = carrier[_CARRIED]
        self.trace_id = f"{span.get_span_context().trace_id:032x}"

    def end(self, name: str, status: int, facts: Facts) -> None:
        """It has been answered."""
        self._span.update_name(name)
        self._span.set_attributes({"http.response.status_code": status, **facts})
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _context(traceparent: str) -> Context:
    return _W3C.extract({_CARRIED: traceparent}, Context())


def _within(context: Context) -> SpanContext:
    """The span that is current in a context."""
    return get_current_span(context).get_span_context()


def _nanoseconds(unix_s: float) -> int:
    return int(unix_s * 1e9)


def _of_batch(batch: Finished) -> Facts:
    spec: dict[str, Any] = orjson.loads(batch.spec)
    told = {"model": spec.get("model"), "version": spec.get("version"), "items": batch.items}
    told |= {"chunks": len(batch.booked), "methods": ",".join(spec.get("methods") or [spec.get("method", "")])}
    return {f"deceptron.{name}": value for name, value in told.items() if value is not None}


def _events(outcome: Outcome | None) -> Iterator[Facts]:
    """One for each item of each method: what became of it, and its verdict."""
    notes = outcome.notes if outcome is not None else None
    methods = notes.items if isinstance(notes, Notes) else []
    for items in methods:
        for index, item in enumerate(items):
            found = {name: item.get(name) for name in _OF_AN_ANSWER}
            found |= {name: (item.get("diagnostics") or {}).get(name) for name in _OF_ITS_DIAGNOSTICS}
            yield {"index": index, **{name: value for name, value in found.items() if value is not None}}
