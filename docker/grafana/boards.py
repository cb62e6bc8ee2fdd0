"""The two Grafana boards as code. `python docker/grafana/boards.py` writes them anew; a test compares every byte.

Never rendered in Grafana here: the tests check the structure, and run every query against a real Prometheus.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable, Row, ThresholdsConfig
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
EVERY = VariableOption(text="All", value="$__all", selected=True)
WIDTH, HEIGHT = 8, 7  # three panels a row
STATES = {0: ("no data", "text"), 1: ("ok", "green"), 2: ("warning", "yellow"), 3: ("critical", "red")}
Steps = tuple[tuple[float | None, str], ...]


@dataclass(frozen=True)
class Panel:
    """What a panel shows, in which unit, and from which value on it is yellow or red."""

    title: str
    queries: Mapping[str, str]  # legend -> PromQL
    unit: str = "short"
    help: str = ""
    steps: Steps = ((None, "green"),)
    kind: str = "lines"  # lines, stack, heatmap, number, state
    logarithmic: bool = False


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Per second, summed over processes; 0 where nothing was ever counted and no label is asked for."""
    summed = f"rate({metric}{{{where}}}[$__rate_interval])" if where else f"rate({metric}[$__rate_interval])"
    return f"sum by ({by}) ({summed})" if by else f"sum({summed}) or vector(0)"


def quantile(q: float, histogram: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram over the last minutes."""
    return f"histogram_quantile({q}, {rate(histogram + '_bucket', f'{by}, le' if by else 'le', where)})"


def highest(metric: str, by: str, where: str = "") -> str:
    """A gauge that every API tells alike."""
    return f"max by ({by}) ({metric}{{{where}}})" if where else f"max by ({by}) ({metric})"


MODEL = 'model=~"$model"'
# Thresholds as the defaults in docs/settings.md.
SHARE: Steps = ((None, "green"), (0.05, "yellow"), (0.2, "red"))
LEVEL: Steps = ((None, "text"), (1, "green"), (2, "yellow"), (3, "red"))
FULL: Steps = ((None, "green"), (0.5, "yellow"), (0.8, "red"))

MODEL_HEALTH: dict[str, list[Panel]] = {
    "Is what comes in what the models were calibrated on?": [
        Panel(
            "State",
            {"{{model}}": f"deceptron:rjcp_state:level{{{MODEL}}}"},
            kind="state",
            steps=LEVEL,
            help="GET /health/rjcp: the last answers of each model against its calibration set.",
        ),
        Panel(
            "In this state for",
            {"{{model}}": f"time() - {highest('deceptron_rjcp_state_since_seconds', 'model', MODEL)}"},
            unit="s",
            kind="number",
        ),
        Panel(
            "Out of range, share of the window",
            {"{{model}}": highest("deceptron_rjcp_out_of_range_ratio", "model", MODEL)},
            unit="percentunit",
            steps=SHARE,
            help="In-range traffic gives about 1 %.",
        ),
    ],
    "RJCP": [
        Panel(
            "RJCP in the window, and calibrated",
            {
                "{{model}} {{point}}": highest("deceptron_rjcp_window", "model, point", MODEL),
                "{{model}} {{point}} calibrated": highest("deceptron_rjcp_calibrated", "model, point", MODEL),
            },
            logarithmic=True,
            help="How far the learned inverse is from undoing the forward map, at the answers (arXiv 2511.21076).",
        ),
        Panel(
            "RJCP of all answers, lately",
            {
                "{{model}} median": f"deceptron:rjcp:p50_5m{{{MODEL}}}",
                "{{model}} p95": f"deceptron:rjcp:p95_5m{{{MODEL}}}",
            },
            logarithmic=True,
            help="From the histogram, any method and option included; interpolated between calibrated quantiles.",
        ),
        Panel(
            "RJCP, answers by bucket (choose one model)",
            {"{{le}}": rate("deceptron_rjcp_bucket", "le", MODEL)},
            kind="heatmap",
            help="Bucket edges are the model's own calibrated quantiles: 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9 %.",
        ),
    ],
    "Drift": [
        Panel(
            "Distance from the calibration set",
            {"{{model}} {{of}}": highest("deceptron_rjcp_drift", "model, of", MODEL)},
            steps=((None, "green"), (0.15, "yellow")),
            help="Kolmogorov-Smirnov, from 200 answers on; of RJCP and of the combined p-values (decision 9).",
        ),
        Panel(
            "Probability of such a distance by chance",
            {"{{model}} {{of}}": highest("deceptron_rjcp_drift_p_value", "model, of", MODEL)},
        ),
        Panel("Answers in the window", {"{{model}}": highest("deceptron_rjcp_window_items", "model", MODEL)}),
    ],
    "Verdicts": [
        Panel(
            "Items per second, by verdict",
            {"{{model}} {{verdict}}": f"deceptron:items:rate5m{{{MODEL}}}"},
            unit="cps",
            kind="stack",
        ),
        Panel(
            "Residual over noise, median and p95",
            {
                "{{model}} median": quantile(0.5, "deceptron_residual_to_noise", "model", MODEL),
                "{{model}} p95": quantile(0.95, "deceptron_residual_to_noise", "model", MODEL),
            },
            help="About 1 where the fit is as good as the noise allows.",
        ),
        Panel(
            "Items without an answer, per second",
            {"{{model}}": rate("deceptron_items_total", "model", f'{MODEL},verdict="error"')},
            unit="cps",
        ),
    ],
}

BUSY = "sum by (instance) (rate(deceptron_compute_seconds_sum[$__rate_interval]))"
SERVICE: dict[str, list[Panel]] = {
    "Rate": [
        Panel("Requests per second", {"{{method}} {{route}}": rate("deceptron_http_requests_total", "method, route")}),
        Panel("Items solved per second", {"{{model}}": rate("deceptron_items_total", "model")}, unit="cps"),
        Panel(
            "Items per batch",
            {"median": quantile(0.5, "deceptron_batch_items"), "p95": quantile(0.95, "deceptron_batch_items")},
        ),
    ],
    "Errors": [
        Panel("Responses per second, by status", {"{{status}}": rate("deceptron_http_requests_total", "status")}),
        Panel(
            "Requests that end in a server error",
            {"share": "deceptron:http_errors:ratio5m"},
            unit="percentunit",
            steps=((None, "green"), (0.05, "red")),
        ),
        Panel(
            "Chunks run again, items given up, per second",
            {
                "run again": rate("deceptron_redeliveries_total"),
                "given up": rate("deceptron_poisoned_items_total"),
            },
        ),
    ],
    "Duration": [
        Panel(
            "Requests, p50 and p95",
            {
                "{{route}} p50": quantile(0.5, "deceptron_http_request_seconds", "route"),
                "{{route}} p95": quantile(0.95, "deceptron_http_request_seconds", "route"),
            },
            unit="s",
            help="To the last byte; waiting for a job (Prefer: wait) and event streams included.",
        ),
        Panel(
            "Waiting for a worker",
            {"p50": quantile(0.5, "deceptron_queue_seconds"), "p95": quantile(0.95, "deceptron_queue_seconds")},
            unit="s",
        ),
        Panel(
            "Computing a batch, p95",
            {"{{model}} {{stage}}": quantile(0.95, "deceptron_compute_seconds", "model, stage")},
            unit="s",
        ),
    ],
    "Saturation": [
        Panel("Queue, share of what it takes", {"full": "deceptron:queue:saturation"}, "percentunit", steps=FULL),
        Panel("Oldest unfinished work", {"age": "max(deceptron_oldest_job_age_seconds)"}, unit="s"),
        Panel("Workers, share of time computing", {"{{instance}}": BUSY}, unit="percentunit", steps=FULL),
        Panel("Waiting or running", {"items": "max(deceptron_queue_items)", "chunks": "max(deceptron_queue_chunks)"}),
        Panel("Queue payloads", {"bytes": "max(deceptron_queue_bytes)"}, unit="bytes"),
        Panel("Memory", {"{{job}} {{instance}}": "deceptron_process_resident_memory_bytes"}, unit="bytes"),
    ],
    "What runs": [
        Panel(
            "Workers alive", {"{{device}} {{engine}}": highest("deceptron_workers", "device, engine")}, kind="number"
        ),
        Panel("Version", {"{{version}} {{commit}}": "count by (version, commit) (deceptron_api_info)"}, kind="number"),
        Panel("Engines", {"{{device}} {{engine}}": "count by (device, engine) (deceptron_worker_info)"}, kind="number"),
    ],
}

PanelBuilder = timeseries.Panel | stat.Panel | heatmap.Panel


def built(panel: Panel) -> PanelBuilder:
    """The panel as Grafana's builder has it."""
    builder: PanelBuilder = (
        KINDS[panel.kind](panel).title(panel.title).description(panel.help).unit(panel.unit).datasource(SOURCE)
    )
    builder = builder.span(WIDTH).height(HEIGHT)
    for i, (legend, expr) in enumerate(panel.queries.items()):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(chr(ord("A") + i)).datasource(SOURCE)
        if panel.kind == "heatmap":
            query = query.format(PromQueryFormat.HEATMAP)
        builder = builder.with_target(query.instant() if panel.kind in ("number", "state") else query.range())
    return builder


def _thresholds(panel: Panel) -> ThresholdsConfig:
    steps = [Threshold(value=value, color=color) for value, color in panel.steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    builder = timeseries.Panel().thresholds(_thresholds(panel)).line_width(1).fill_opacity(0)
    builder = builder.legend(legend.show_legend(True).calcs([]))
    builder = builder.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if len(panel.steps) > 1:
        builder = builder.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if panel.logarithmic:
        scale = common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
        builder = builder.scale_distribution(scale)
    return builder


def _stack(panel: Panel) -> timeseries.Panel:
    stacking = common.StackingConfig().mode(StackingMode.NORMAL).group("A")
    return _lines(panel).stacking(stacking).fill_opacity(30)


def _heatmap(panel: Panel) -> heatmap.Panel:
    return heatmap.Panel().calculate(False)


def _number(panel: Panel) -> stat.Panel:
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().reduce_options(last).thresholds(_thresholds(panel)).text_mode(BigValueTextMode.VALUE_AND_NAME)


def _state(panel: Panel) -> stat.Panel:
    words = {str(i): ValueMappingResult(text=word, color=color) for i, (word, color) in STATES.items()}
    return _number(panel).mappings([ValueMap(options=words)]).color_mode(BigValueColorMode.BACKGROUND)


KINDS: Mapping[str, Callable[[Panel], PanelBuilder]] = {
    "lines": _lines,
    "stack": _stack,
    "heatmap": _heatmap,
    "number": _number,
    "state": _state,
}


def board(uid: str, title: str, rows: Mapping[str, list[Panel]]) -> Dashboard:
    """A board of titled rows."""
    made = Dashboard(title).uid(uid).tags(["deceptron"]).readonly().refresh("30s").time("now-1h", "now")
    made = made.timezone("browser")
    if rows is MODEL_HEALTH:
        models = QueryVariable("model").label("Model").query("label_values(deceptron_rjcp_state, model)")
        made = made.with_variable(
            models.datasource(SOURCE)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(EVERY)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        )
    ids = count(1)
    for name, panels in rows.items():
        made = made.with_row(Row(name).id(next(ids)))
        for panel in panels:
            made = made.with_panel(built(panel).id(next(ids)))
    return made


BOARDS = {
    "model-health.json": board("deceptron-models", "Deceptron: model health", MODEL_HEALTH),
    "service.json": board("deceptron-service", "Deceptron: service", SERVICE),
}


def text(name: str) -> str:
    """A board as the file that Grafana reads."""
    return JSONEncoder(sort_keys=True, indent=2).encode(BOARDS[name].build()) + "\n"


if __name__ == "__main__":
    for name in BOARDS:
        (FOLDER / name).write_text(text(name))
