"""Traces, off unless ``DECEPTRON_TRACES`` names a collector: without it nothing of OpenTelemetry is imported.

A request's span travels with its job as a W3C traceparent; the worker adds to the same trace how long each chunk
waited, and who solved it, item by item. ``spans.py`` is the only file that knows OpenTelemetry.
"""

from typing import TYPE_CHECKING

from service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from service.tracing.spans import Traces


def start_traces(settings: Settings, process: str, version: str) -> "Traces | None":
    """Sends this process's spans to the collector of the settings; None where there is none. Raises SettingsError."""
    if not settings.traces:
        return None
    try:
        from service.tracing.spans import Traces, exported_to
    except ImportError as error:
        raise SettingsError(f"DECEPTRON_TRACES: needs the extra otel (pip install '.[server,otel]'): {error}") from None
    return Traces(exported_to(settings.traces), process, version)
