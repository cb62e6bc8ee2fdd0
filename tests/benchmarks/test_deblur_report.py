"""The deblurring benchmark runs, small: every method is in its tables, every case behind them; the sheet is drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.charts import Picture
from benchmarks.deblur import ONESHOT, OURS
from benchmarks.deblur_gains import Gain, gain_goals
from benchmarks.deblur_methods import FAMILIES
from benchmarks.report import Report
from benchmarks.run import BENCHMARKS
from benchmarks.setup import Setup
from benchmarks.sheet import paste

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def report(setup: Setup) -> Report:
    return BENCHMARKS["deblur"](setup)


def test_every_method_is_measured(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path)
    rows = [row for row in json.loads((tmp_path / "deblur.json").read_text())["rows"] if "psnr" in row]
    assert {row["method"] for row in rows} == {"blurred", *FAMILIES, OURS, ONESHOT}
    assert all(np.isfinite(row["psnr"]) and 0 < row["ssim"] <= 1 for row in rows)


def test_the_network_beats_what_was_blurred(report: Report) -> None:
    quality = {
        method: [row["psnr"] for row in report.rows if row.get("method") == method] for method in ("blurred", OURS)
    }
    assert np.mean(quality[OURS]) > np.mean(quality["blurred"]) + 1.0


def test_the_tables_name_the_papers_rivals_and_the_strange(report: Report) -> None:
    text = report.markdown()
    for name in ("DeceptronNet v0", "LM, to the noise level", "page", "moon", f"{OURS} over {ONESHOT}"):
        assert f"| {name} |" in text


def test_the_costs_and_goals_are_there(report: Report) -> None:
    assert {row["engine"] for row in report.rows if "engine" in row} == {"torch", "unet", "steps"}
    assert {row["factor"] for row in report.rows if "factor" in row} == {2, 4}
    assert all(row["gib_peak"] > 0 and row["cpu_s"] > 0 for row in report.rows if "gib_peak" in row)
    assert sum("lm_s" in row for row in report.rows) == 4
    (command,) = [row for row in report.rows if "command_side" in row]
    assert command["command_cpu_s"][0] > 0.1
    assert len(report.goals) == 11


def test_gains_are_of_scenes() -> None:
    gain = Gain.of({"a": [1.0, 3.0], "b": [-1.0, -1.0]})
    assert gain.mean == 0.5
    assert gain.least == ("b", -1.0)
    assert gain.won == 0.5
    assert gain.interval[0] == -1.0
    found = gain_goals({("ours", "tv"): gain, ("ours", "oneshot"): gain}, "tv", "oneshot")
    assert [goal.holds for goal in found] == [False, False, True]


def test_the_sheet_is_a_picture(report: Report, tmp_path: Path) -> None:
    (picture,) = report.pictures()
    assert paste(picture, tmp_path) == picture.file
    with Image.open(tmp_path / picture.file) as sheet:
        assert sheet.mode == "L"
        assert sheet.width > 8 * picture.rows[0][0][1].shape[1]


def test_a_sheet_holds_its_images(tmp_path: Path) -> None:
    paste(Picture("a.png", "", [[("black", torch.zeros(20, 30)), ("white", torch.ones(20, 30))]]), tmp_path)
    with Image.open(tmp_path / "a.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels[30, 20] == 0
    assert pixels[30, 50] == 255
