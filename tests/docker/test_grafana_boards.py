"""The boards are what boards.py makes, and fit the provisioning around them. Never rendered in Grafana here."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "docker" / "grafana"
NAMES = ("model-health.json", "service.json")


def load(name: str) -> dict[str, Any]:
    board: dict[str, Any] = json.loads((FOLDER / "dashboards" / name).read_text())
    return board


@pytest.fixture(scope="module")
def code() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "boards.py"))


def test_the_files_are_what_the_code_makes(code: dict[str, Any]) -> None:
    assert sorted(path.name for path in (FOLDER / "dashboards").iterdir()) == sorted(code["BOARDS"]) == sorted(NAMES)
    for name in NAMES:
        made = code["text"](name)
        assert (FOLDER / "dashboards" / name).read_bytes() == made.encode(), "run: python docker/grafana/boards.py"


@pytest.mark.parametrize("name", NAMES)
def test_panels_stand_side_by_side(name: str) -> None:
    panels = load(name)["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    taken = set()
    for place in (panel["gridPos"] for panel in panels):
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], _end(place))}
        assert not cells & taken
        taken |= cells


def _end(place: dict[str, int]) -> int:
    return place["y"] + place["h"]


@pytest.mark.parametrize("name", NAMES)
def test_panels_ask_the_provisioned_datasource(name: str) -> None:
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    for panel in load(name)["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
        assert panel["targets"]
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])


def test_thresholds_drawn_are_the_defaults(code: dict[str, Any]) -> None:
    from service.settings import Settings

    settings = Settings()
    assert [value for value, _ in code["SHARE"]] == [
        None,
        settings.out_of_range_warning,
        settings.out_of_range_critical,
    ]
    (drift,) = [panel for panel in code["MODEL_HEALTH"]["Drift"] if panel.title.startswith("Distance")]
    assert drift.steps[1][0] == settings.drift_warning


def test_recorded_series_exist() -> None:
    recorded = set(re.findall(r"record: (\S+)", (FOLDER.parent / "prometheus/rules/recording.yml").read_text()))
    used = {name for board in NAMES for name in re.findall(r"deceptron:[a-z0-9_:]+", json.dumps(load(board)))}
    assert used <= recorded
