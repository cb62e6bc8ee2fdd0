"""A real Prometheus watches a real service: every panel has data, and drift fires an alert and clears again."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import yaml

from physics.problem import load_problem
from service.client import Client
from tests.ports import free_port
from tests.service.conftest import Service, start_service, stop_service, wait_for

DOCKER = Path(__file__).parents[2] / "docker"
NOTICED_S = 100.0
WINDOW = 500  # shared by both workers
TARGETS = ["deceptron-api", "deceptron-worker", "deceptron-worker"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="NO PROMETHEUS HERE (Debian: apt-get install prometheus): boards' queries and alerts were not run",
    ),
]


class Prometheus:
    """A running Prometheus with the shipped configuration, in a hurry."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def get(self, path: str, **params: str) -> Any:
        answer = self.http.get(path, params=params).json()
        assert answer["status"] == "success", (params, answer)
        return answer["data"]

    def values(self, query: str) -> list[float]:
        """The finite values of an instant query."""
        found = [float(sample["value"][1]) for sample in self.get("query", query=query)["result"]]
        return [value for value in found if np.isfinite(value)]

    def firing(self) -> set[tuple[str, str]]:
        """(alert, model) of what fires."""
        alerts = [alert for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"]
        return {(alert["labels"]["alertname"], alert["labels"].get("model", "")) for alert in alerts}

    def healthy_targets(self) -> list[str]:
        return [target["labels"]["job"] for target in self.get("targets")["activeTargets"] if target["health"] == "up"]


@contextmanager
def running_prometheus(folder: Path, service: Service) -> Iterator[Prometheus]:
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={hurried(folder, service)}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(f"http://{address}/-/ready"), NOTICED_S)
        with httpx.Client(base_url=f"http://{address}/api/v1", timeout=60, trust_env=False) as http:
            yield Prometheus(http)
    finally:
        process.terminate()
        process.wait(100)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def hurried(folder: Path, service: Service) -> Path:
    """The shipped files with this service's address, seconds for intervals, and alerts that wait two."""
    address = service.url.removeprefix("http://")
    config = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text().replace("api:8000", address))
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["scrape_configs"][1]["http_sd_configs"][0]["refresh_interval"] = "1s"
    (folder / "rules").mkdir()
    for source in (DOCKER / "prometheus/rules").iterdir():
        rules = yaml.safe_load(source.read_text())
        for rule in (rule for group in rules["groups"] for rule in group["rules"]):
            if "for" in rule:
                rule["for"] = "2s"
        (folder / "rules" / source.name).write_text(yaml.safe_dump(rules))
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def oscillations() -> np.ndarray:
    """A thousand noisy observations (1000, 64) from the prior, by seeds that training never had."""
    problem, generator = load_problem("oscillator"), torch.Generator().manual_seed(987_654)
    return np.asarray(problem.observe(problem.simulate(1000, generator)[1], generator))


def post(client: Client, observations: np.ndarray) -> None:
    for part in np.array_split(observations, 5):
        client.invert("oscillator", part)


# One test and not two: the service and Prometheus are started once, whichever test process runs it.
def test_a_real_prometheus_sees_drift_and_feeds_every_panel(tmp_path: Path, oscillations: np.ndarray) -> None:
    service = start_service(tmp_path, "--workers", "2", DECEPTRON_RJCP_WINDOW_ITEMS=str(WINDOW))
    try:
        with running_prometheus(tmp_path, service) as prometheus, Client(service.url, progress=False) as client:
            wait_for(lambda: sorted(prometheus.healthy_targets()) == TARGETS, NOTICED_S)
            drift_is_noticed_and_forgotten(service, prometheus, client, oscillations)
            every_panel_has_data(prometheus)
    finally:
        stop_service(service)


def drift_is_noticed_and_forgotten(
    service: Service, prometheus: Prometheus, client: Client, oscillations: np.ndarray
) -> None:
    critical = ("DeceptronModelCritical", "oscillator")
    post(client, oscillations[:WINDOW])
    becomes(service, "ok")
    assert prometheus.firing() == set()
    shifted = oscillations[:WINDOW] + np.random.default_rng(1).normal(0.0, 0.03, (WINDOW, 64))  # three times the noise
    post(client, shifted)
    found = becomes(service, "critical")
    assert found["window"]["count"] == WINDOW
    assert found["out_of_range"] > 0.5
    assert found["drift"]["statistic"] > 0.5
    assert found["reasons"]
    assert answers(f"{service.url}/health/ready")  # strange questions are still answered
    wait_for(lambda: critical in prometheus.firing(), NOTICED_S)
    post(client, oscillations[WINDOW:])
    recovered = becomes(service, "ok")
    assert recovered["since"] > found["since"]
    assert recovered["reasons"] == []
    wait_for(lambda: prometheus.firing() == set(), NOTICED_S)


def becomes(service: Service, state: str) -> dict[str, Any]:
    """What /health/rjcp says of the oscillator once it is in this state."""

    def look() -> dict[str, Any] | None:
        answer = httpx.get(f"{service.url}/health/rjcp", timeout=60, trust_env=False).json()
        found: dict[str, Any] = answer["models"]["oscillator"]
        return found if found["state"] == state and found["window"]["count"] == WINDOW else None

    found = wait_for(look, NOTICED_S)
    assert isinstance(found, dict)
    return found


def every_panel_has_data(prometheus: Prometheus) -> None:
    boards = [json.loads(path.read_text()) for path in (DOCKER / "grafana/dashboards").iterdir()]
    panels = [panel for board in boards for panel in board["panels"] if panel["type"] != "row"]
    queries = {(p["title"], target["expr"]) for p in panels for target in p["targets"]}
    assert len(panels) >= 25

    def empty() -> list[tuple[str, str]]:
        return [(title, query) for title, query in sorted(queries) if not prometheus.values(filled_in(query))]

    try:
        wait_for(lambda: not empty(), NOTICED_S)
    finally:
        assert empty() == []


def filled_in(query: str) -> str:
    """What Grafana puts in for its variables."""
    return query.replace("$__rate_interval", "2m").replace("$model", ".*")
