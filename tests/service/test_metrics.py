"""/metrics and /health/rjcp of a real service: what is posted is what is counted, shown and judged."""

import re
import time
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from service.inference import SolveSpec
from service.metrics.histogram import QuantileHistogram, quantile_edges
from service.metrics.worker import WorkerMetrics
from service.queue.window import Sample
from service.settings import SettingsError
from tests.service.conftest import WAIT, Service, wait_for

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(url: str) -> Series:
    """(name, labels) -> value of everything at a /metrics."""
    answer = httpx.get(url, timeout=60, trust_env=False)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return read(answer.text)


def read(text: str) -> Series:
    samples = (sample for family in parse(text) for sample in family.samples)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def value(series: Series, name: str, **labels: str) -> float:
    return series[name, tuple(sorted(labels.items()))]


def worker_url(http: httpx.Client) -> str:
    (entry,) = http.get("/metrics/workers").json()
    return f"http://{entry['targets'][0]}/metrics"


@pytest.fixture
def in_range(http: httpx.Client) -> list[list[float]]:
    """The oscillator's own held-out examples that are in range."""
    examples = http.get("/models/oscillator/examples").json()
    pairs = zip(examples["observations"], examples["labels"], strict=True)
    return [observation for observation, label in pairs if label.startswith("in range")]


def invert(http: httpx.Client, observations: list[list[float]], **more: Any) -> dict[str, Any]:
    body = {"model": "oscillator", "observations": observations, **more}
    job: dict[str, Any] = http.post("/invert", json=body, headers=WAIT).json()
    assert job["status"] in {"succeeded", "partial"}, job
    return job


def window_count(http: httpx.Client) -> int:
    time.sleep(1.1)  # a report is good for a second
    return int(http.get("/health/rjcp").json()["models"]["oscillator"]["window"]["count"])


def test_worker_counts_what_it_solved(http: httpx.Client, in_range: list[list[float]]) -> None:
    url = worker_url(http)
    before = scrape(url)
    observations = [in_range[0], [50.0 * v for v in in_range[0]], [1e200] * 64]
    result = invert(http, observations)["result"]
    items, version = result["items"], str(result["version"])
    verdicts = [item["diagnostics"]["verdict"] if item["diagnostics"] else "error" for item in items]
    assert set(verdicts) >= {"out_of_range", "error"}

    def counted() -> bool:
        after = scrape(url)
        grown = {v: grew(before, after, "deceptron_items_total", model="oscillator", verdict=v) for v in set(verdicts)}
        return all(grown[v] >= verdicts.count(v) for v in set(verdicts))

    wait_for(counted)
    after = scrape(url)
    assert grew(before, after, "deceptron_rjcp_count", model="oscillator", version=version) >= 2
    assert grew(before, after, "deceptron_residual_to_noise_count", model="oscillator") >= 2
    for stage in ("solve", "diagnose"):
        assert grew(before, after, "deceptron_compute_seconds_sum", model="oscillator", stage=stage) > 0
    for name in ("deceptron_queue_seconds_count", "deceptron_batch_items_count"):
        assert grew(before, after, name) >= 1
    assert [dict(labels)["engine"] for name, labels in after if name == "deceptron_worker_info"]


def grew(before: Series, after: Series, name: str, **labels: str) -> float:
    return value(after, name, **labels) - value(before, name, **labels)


def test_only_answers_made_like_the_calibration_set_are_judged(
    http: httpx.Client, service: Service, in_range: list[list[float]]
) -> None:
    manifest = type("Like", (), {"preset": "product"})()
    plain = SolveSpec("oscillator", 1, ("auto",))
    assert plain.as_calibrated("auto", manifest)
    for other in ({"preset": "paper"}, {"tolerance": 0.1}, {"max_iterations": 3}, {"constraint": "{}"}):
        assert not SolveSpec("oscillator", 1, ("auto",), **other).as_calibrated("auto", manifest)
    assert not plain.as_calibrated("gd", manifest)
    before = window_count(http)
    invert(http, in_range)
    assert wait_for(lambda: window_count(http) != before or before == 1000)


def test_health_rjcp_compares_with_the_calibration(http: httpx.Client, in_range: list[list[float]]) -> None:
    invert(http, in_range * 20)
    wait_for(lambda: window_count(http) >= 50)
    models = http.get("/health/rjcp").json()["models"]
    cards = http.get("/models").json()["models"]
    assert set(models) == {card["name"] for card in cards if card["calibration"]["items"]}
    found, card = models["oscillator"], http.get("/models/oscillator").json()
    assert found["state"] in {"ok", "warning", "critical"}
    assert time.time() - 3600 < found["since"] <= time.time() + 1
    assert found["rjcp"]["median"] <= found["rjcp"]["p95"]
    assert 0 <= found["out_of_range"] <= found["suspect_or_worse"] <= 1
    for name in ("median", "p95", "p99"):
        assert found["calibration"][name] == pytest.approx(card["calibration"]["quantiles"]["rjcp"][name])

    def agree() -> bool:
        """Both at once: what other tests post may change it in between."""
        state = http.get("/health/rjcp").json()["models"]["oscillator"]["state"]
        return bool(http.get("/health").json()["rjcp"]["oscillator"] == state)

    wait_for(agree)


def test_the_api_shows_queue_models_and_requests(http: httpx.Client, service: Service) -> None:
    for path in ("/models/nobody", "/no/such/page", "/no/such/page2", f"/jobs/{'0' * 32}"):
        assert http.get(path).status_code == 404
    http.request("PROPFIND", "/models")
    series = scrape(f"{service.url}/metrics")
    assert value(series, "deceptron_queue_up") == 1
    assert value(series, "deceptron_queue_items") >= 0
    assert value(series, "deceptron_queue_limit_items") == 200_000
    assert sum(number for (name, _), number in series.items() if name == "deceptron_workers") == 1
    states = [series[key] for key in series if key[0] == "deceptron_rjcp_state" and ("model", "oscillator") in key[1]]
    assert sorted(states) == [0, 0, 0, 1]
    # Templates and a few words, whatever anybody asks for.
    routes = {dict(labels)["route"] for name, labels in series if name == "deceptron_http_requests_total"}
    methods = {dict(labels)["method"] for name, labels in series if name == "deceptron_http_requests_total"}
    assert {"/models/{name}", "/jobs/{job_id}", "unmatched"} <= routes
    assert not [route for route in routes if "nobody" in route or "such" in route]
    assert "other" in methods
    assert "PROPFIND" not in methods


def test_every_name_is_ours_and_no_label_holds_ids(http: httpx.Client, service: Service) -> None:
    for url in (f"{service.url}/metrics", worker_url(http)):
        series = scrape(url)
        assert all(name.startswith("deceptron_") for name, _ in series)
        labels = {label for _, pairs in series for label in pairs}
        assert not [pair for pair in labels if pair[0] != "commit" and re.search(r"[0-9a-f]{12}", pair[1])]
        assert len(series) < 2000


HEAVY = np.random.default_rng(0).lognormal(-1.0, 1.5, 2000)
CONSTANT = np.full(2000, 6.139645e-4)


def test_bucket_edges_are_calibrated_quantiles() -> None:
    edges = quantile_edges(np.sort(HEAVY))
    assert np.all(np.diff(edges) > 0)
    for q in (0.5, 0.95, 0.99):
        assert np.min(np.abs(edges / np.quantile(HEAVY, q) - 1)) < 1e-5
    assert len(edges) == 12


@pytest.mark.parametrize("calibration", [CONSTANT, CONSTANT * (1 + 1e-7 * np.arange(2000) / 2000), np.zeros(2000)])
def test_a_constant_rjcp_lies_between_two_edges(calibration: np.ndarray) -> None:
    edges = quantile_edges(calibration)
    assert edges[0] < calibration[0] <= calibration[-1] < edges[1]


def test_histogram_counts_like_prometheus() -> None:
    histogram = QuantileHistogram("deceptron_rjcp", "x")
    histogram.add("m", "1", np.array([1.0, 2.0]))
    histogram.observe("m", "1", np.array([0.5, 1.0, 1.5, 9.0, np.nan, np.inf]))
    (family,) = histogram.collect()
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    assert found["deceptron_rjcp_bucket", "1.0"] == 2  # an edge belongs to the bucket below it
    assert found["deceptron_rjcp_bucket", "2.0"] == 3
    assert found["deceptron_rjcp_bucket", "+Inf"] == found["deceptron_rjcp_count", None] == 6
    assert found["deceptron_rjcp_sum", None] == 12.0


@pytest.fixture
def worker_metrics() -> WorkerMetrics:
    return WorkerMetrics({"device": "cpu", "engine": "torch", "version": "0"})


def test_a_taken_port_costs_no_worker_its_metrics(worker_metrics: WorkerMetrics) -> None:
    first = worker_metrics.serve("127.0.0.1", 0)
    port = int(first.rsplit(":", 1)[1])
    second = WorkerMetrics({"device": "cpu"}).serve("127.0.0.1", port)
    assert first != second
    worker_metrics.expect("m", "1", HEAVY)
    assert worker_metrics.knows("m", "1")
    assert not worker_metrics.knows("m", "2")
    worker_metrics.answered("m", "1", [Sample(0.3, 1.0, 0.5, "suspect")], errors=2)
    series = scrape(f"http://{first}/metrics")
    assert value(series, "deceptron_items_total", model="m", verdict="suspect") == 1
    assert value(series, "deceptron_items_total", model="m", verdict="error") == 2
    assert value(series, "deceptron_items_total", model="m", verdict="in_range") == 0
    assert scrape(f"http://{second}/metrics")


def test_an_address_this_machine_lacks_is_named(worker_metrics: WorkerMetrics) -> None:
    with pytest.raises(SettingsError, match=r"DECEPTRON_METRICS_HOST: cannot listen on 192\.0\.2\.1"):
        worker_metrics.serve("192.0.2.1", 0)
