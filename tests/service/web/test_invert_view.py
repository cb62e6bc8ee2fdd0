"""The first view of the console, in a real browser against a real service."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.conftest import ROOT
from tests.service.web.conftest import Console

CHART = "#unknown-plot .chart-area"


def drawn_colours(console: Console, selector: str) -> int:
    """How many different colours a canvas holds: a blank one has one."""
    script = """(canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
    }"""
    return int(console.page.eval_on_selector(selector, script))


def test_one_click_to_a_plotted_reconstruction_with_its_verdict(console: Console) -> None:
    """No reading needed: the page opens on a model with an example, and one click solves it."""
    clicks: list[str] = []
    console.page.expose_function("noted", lambda: clicks.append("click"))
    console.page.evaluate("document.addEventListener('click', () => noted())")
    console.run()
    assert len(clicks) <= 3
    assert console.text("#verdict-title") == "Believable"
    assert drawn_colours(console, f"{CHART} canvas") > 10
    console.page.focus(CHART)
    console.page.keyboard.press("ArrowRight")
    assert re.search(r"truth [-\d.e]+\s+reconstruction [-\d.e]+", console.text("#unknown-plot .readout"))
    for panel in ("residual", "resolution", "trust", "scores", "convergence"):
        assert console.page.is_visible(f"#{panel}-panel")
    assert "calibration items are as large" in console.text("#trust-text")
    console.picture("invert")


def test_out_of_range_is_said_in_words(console: Console) -> None:
    console.choose("oscillator")
    console.page.check("input[name=example] >> nth=5", force=True)
    console.run()
    assert console.text("#verdict-title") == "Do not rely on this"
    assert 0 < console.page.locator("#verdict-reasons li").count() <= 6
    assert "of calibration items are as large" in console.text("#trust-text")
    console.picture("out-of-range")
    # All of them at once: a pager, and how the batch came out as a whole.
    console.page.check("input[name=example] >> nth=6", force=True)
    assert not console.page.is_visible("#verdict"), "an old answer beside a new input"
    console.run()
    assert console.text("#position") == "1 of 6"
    console.page.click("#next")
    assert console.text("#position") == "2 of 6"
    assert "not to rely on" in console.text("#summary")


def test_methods_side_by_side(console: Console) -> None:
    console.choose("oscillator")
    console.run()
    console.page.click("text=Compare all methods on this")
    console.page.wait_for_selector("#comparison:visible")
    rows = console.page.locator("#comparison-table tbody tr")
    assert rows.count() == 7
    assert console.page.locator("#convergence-plot .key").count() == 7
    console.page.click("#comparison-table >> text=Gradient descent")
    assert "Gradient descent" in console.text("#verdict-title")
    assert console.page.get_attribute("#comparison-table button >> nth=4", "aria-pressed") == "true"
    iterations = [
        int(text) for text in console.page.locator("#comparison-table tbody td:nth-child(2)").all_inner_texts()
    ]
    assert iterations[1] < iterations[4], "D-IPG needs fewer iterations than gradient descent"
    assert "does not iterate" in rows.last.inner_text()
    assert "1/s²" in console.text("#unknown-table")
    console.picture("compare")


@pytest.mark.parametrize("model", ["allen_cahn2d", "heat3d"])
def test_fields_are_heat_maps(console: Console, model: str) -> None:
    console.choose(model)
    console.run()
    assert console.page.locator("#observation-plot .map").count() == 3  # observed, fit, residual
    shown = console.page.locator("#unknown-plot .map-name").all_inner_texts()
    assert shown == ["reconstruction", "truth", "error", "± std", "resolution"]
    console.page.focus("#unknown-plot .map canvas")
    console.page.keyboard.press("ArrowDown")
    assert re.search(r"row 1, column 1:\s+reconstruction", console.text("#unknown-plot .readout"))
    assert drawn_colours(console, "#unknown-plot .map canvas") > 10
    console.picture(model)


def write_files(folder: Path, row: list[float]) -> dict[str, Path]:
    """The same observation as .npy, .csv and .json."""
    np.save(folder / "y.npy", np.array(row))
    (folder / "y.csv").write_text("\n".join(f"{value:.17g}" for value in row))
    (folder / "y.json").write_text(json.dumps({"observations": [row]}))
    return {kind: folder / f"y.{kind}" for kind in ("npy", "csv", "json")}


def test_ones_own_numbers(console: Console, http: httpx.Client, tmp_path: Path) -> None:
    row = http.get("/models/oscillator/examples").json()["observations"][1]
    console.choose("oscillator")
    console.page.check("input[value=own]", force=True)
    assert console.page.is_disabled("#run")
    console.page.fill("#numbers", "1, 2, 3")
    assert console.text("#numbers-note") == "Row 1 has 3 numbers; this model observes 64."
    assert console.page.get_attribute("#numbers", "aria-invalid") == "true"
    found = []
    for file in write_files(tmp_path, row).values():
        console.page.set_input_files("#file", file)
        console.wait_for_text("#numbers-note", "1 observation read.")
        console.run()
        found.append(console.text("#unknown-table"))
        assert "truth" not in found[-1]
    assert found[0] == found[1] == found[2]


def test_a_picture_is_an_observation(console: Console, http: httpx.Client, tmp_path: Path) -> None:
    field = np.array(http.get("/models/allen_cahn2d/examples").json()["observations"][0]).reshape(32, 32)
    Image.fromarray(np.clip((field + 1) / 2 * 255, 0, 255).astype(np.uint8)).save(tmp_path / "phase.png")
    console.choose("allen_cahn2d")
    console.page.set_input_files("#file", tmp_path / "phase.png")
    console.page.wait_for_selector("#picture-range:visible")
    console.page.fill("#black", "-1")
    console.run()
    assert "from -1 to 1" in (console.page.get_attribute("#observation-plot .map canvas", "aria-label") or "")
    Image.new("L", (7, 5)).save(tmp_path / "small.png")
    console.page.set_input_files("#file", tmp_path / "small.png")
    console.wait_for_text("#numbers-note", "7 × 5 pixels")


def test_constraints_are_asked_for_and_kept(console: Console) -> None:
    console.choose("heat1d_nonlinear")
    console.page.click("text=Constraint and options")
    console.page.select_option("#constraint", "box")
    console.page.click("#run")
    console.page.wait_for_selector("#problem:visible")
    assert "A box needs" in console.text("#problem")
    console.page.fill("#constraint-upper", "0.5")
    with console.page.expect_response("**/invert") as answer:
        console.run()
    posted = json.loads(answer.value.request.post_data or "")
    assert posted["constraint"] == {"box": {"upper": 0.5}}
    assert max(answer.value.json()["result"]["items"][0]["x"]) <= 0.5 + 1e-6
    assert "Only indicative" in console.text("#verdict-reasons")
    console.page.fill("#constraint-lower", "0.9")
    console.page.click("#run")
    console.page.wait_for_selector("#problem:visible")
    assert "constraint.box" in console.text("#problem")  # the service's own words, naming the field


def test_take_away(console: Console, tmp_path: Path) -> None:
    """The snippets run as they are, and the downloads hold what is on the screen."""
    console.choose("oscillator")
    console.run()
    console.page.click("#more > summary")
    shown = console.page.text_content("#python") or ""
    ran = subprocess.run([sys.executable, "-c", shown], cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert "in_range" in ran.stdout, ran.stderr
    curl = console.page.text_content("#curl") or ""
    ran = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=500)
    item = json.loads(ran.stdout)["result"]["items"][0]
    saved = {name: download(console, name, tmp_path) for name in ("npy", "json", "csv", "png", "input")}
    x = np.load(saved["npy"])
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, [item["x"]], rtol=1e-6)
    assert json.loads(saved["json"].read_text())["items"][0]["status"] == "converged"
    np.testing.assert_allclose(np.loadtxt(saved["csv"], delimiter=",", skiprows=1), item["x"], rtol=1e-6)
    with Image.open(saved["png"]) as picture:
        assert picture.width > 200
    assert np.load(saved["input"]).shape == (1, 64)


def download(console: Console, name: str, folder: Path) -> Path:
    with console.page.expect_download() as started:
        console.page.click(f"#download-{name}")
    path = folder / started.value.suggested_filename
    os.replace(started.value.path(), path)
    return path


def answer_with(status: int, document: dict[str, Any]) -> Any:
    body = json.dumps(document)
    return lambda route: route.fulfill(status=status, body=body, content_type="application/problem+json")


def test_failures_are_said(console: Console) -> None:
    page = console.page
    page.route("**/invert", lambda route: route.abort())
    page.click("#run")
    page.wait_for_selector("#problem:visible")
    assert "cannot be reached" in console.text("#problem")
    page.unroute("**/invert")
    busy = {"title": "Queue full", "detail": "the queue is full.", "errors": []}
    page.route("**/invert", answer_with(429, busy))
    page.click("#run")
    console.wait_for_text("#problem", "the queue is full")
    page.unroute("**/invert")
    console.run()
    assert not page.is_visible("#problem")


def test_a_key_is_asked_for_and_sent(console: Console) -> None:
    """Where the service wants a key the field opens; the key travels in the header and lives as long as the tab."""
    page = console.page
    page.route("**/invert", answer_with(401, {"title": "Unauthorized", "detail": "send a header"}))
    page.click("#run")
    page.wait_for_selector("#key:visible")
    assert console.text("#problem h2") == "An API key is needed"
    assert "header" not in console.text("#problem"), "what the service says is for programs"
    page.fill("#key", "dk_1_secret")
    with page.expect_request("**/models") as asked:
        page.press("#key", "Enter")
    assert asked.value.headers["authorization"] == "Bearer dk_1_secret"
    assert page.evaluate("Object.entries(localStorage).join().includes('secret')") is False
