"""The deblur view of the console, in a real browser against a real service."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from physics import kernels
from tests.service.conftest import ROOT
from tests.service.web.conftest import Console


@pytest.fixture
def deblur(console: Console) -> Console:
    console.page.click("[data-view=deblur]")
    console.page.wait_for_selector("#deblur-run:enabled")
    return console


def run(console: Console) -> None:
    console.page.click("#deblur-run")
    console.page.wait_for_selector("#deblur-after:visible")
    console.page.wait_for_selector("#deblur-figures:visible")


def figure(console: Console, name: str) -> tuple[str, str]:
    """Value and note of one of the figures."""
    title = console.page.locator("dt", has_text=re.compile(f"^{name}$"))
    box = console.page.locator("#deblur-figures > div", has=title)
    return box.locator("dd").nth(0).inner_text(), box.locator("dd").nth(1).inner_text()


def test_the_example_becomes_sharper(deblur: Console) -> None:
    deblur.page.select_option("#deblur-method", "wiener")
    run(deblur)
    after, before = (float(re.findall(r"[\d.]+", text)[0]) for text in figure(deblur, "PSNR"))
    assert after > before + 1
    # The slider uncovers one or the other.
    clip = "document.getElementById('deblur-before').style.clipPath"
    deblur.page.focus("#deblur-split")
    deblur.page.keyboard.press("Home")
    assert deblur.page.evaluate(clip) == "inset(0px 100% 0px 0px)"
    deblur.page.keyboard.press("End")
    assert deblur.page.evaluate(clip) == "inset(0px 0% 0px 0px)"
    for _ in range(5):
        deblur.page.keyboard.press("PageDown")
    deblur.picture("deblur")
    assert deblur.serious_violations() == []
    # The job is in the list, and opens here.
    deblur.page.click("[data-view=jobs]")
    deblur.page.click("#jobs-list >> text=Open")
    deblur.page.wait_for_selector("#deblur-after:visible")


def test_ones_own_picture_and_kernel(deblur: Console, tmp_path: Path) -> None:
    """Posted as they are; the picture comes back in its own size, and from the shell as well."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    np.save(tmp_path / "psf.npy", np.ones((3, 3)) / 9)
    page = deblur.page
    page.set_input_files("#deblur-file", tmp_path / "photo.png")
    page.select_option("#psf-kind", "file")
    assert page.is_disabled("#deblur-run")
    page.set_input_files("#psf-file", tmp_path / "psf.npy")
    deblur.wait_for_text("#psf-note", "3 × 3 pixels")
    page.select_option("#deblur-method", "wiener")
    page.fill("#deblur-noise", "0.02")
    run(deblur)
    assert figure(deblur, "Noise")[0] == "0.02"
    assert page.evaluate("document.getElementById('deblur-after').naturalWidth") == 60
    with page.expect_download() as started:
        page.click("#deblur-png")
    script, command = (page.text_content(f"#deblur-{name}") or "" for name in ("python", "curl"))
    for program in (["bash", "-c", command], [sys.executable, "-c", script]):
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(program, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500)
        assert ran.returncode == 0, ran.stderr
        with Image.open(tmp_path / "deblurred.png") as mine, Image.open(started.value.path()) as saved:
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(saved))
        (tmp_path / "deblurred.png").unlink()
    assert not page.is_visible("#deblur-trust-panel"), "a classical method has no calibrated scores"


def test_the_network_s_verdict_is_shown_against_photographs(deblur: Console, tmp_path: Path) -> None:
    page = deblur.page
    run(deblur)
    page.wait_for_selector("#deblur-trust-plot canvas")
    assert re.search(r"RJCP over its floor is [\d.]+: .*\(\d+ of them", deblur.text("#deblur-trust-text"))
    scores = page.locator("#deblur-trust-table tbody th").all_inner_texts()
    assert scores[0] == "RJCP over its floor"
    assert scores[-1] == "All together"
    assert len(scores) == 5
    deblur.picture("deblur-verdict")
    page.click("[data-view=jobs]")
    deblur.wait_for_text("#jobs-list h3", "deblur, 1 picture")  # however many tiles that is to the queue
    # It is in the network's window, beside the models of vectors.
    page.click("[data-view=health]")
    page.locator("section[aria-label=deblur]").wait_for()


def test_what_cannot_be_read_is_said(deblur: Console, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"not a picture")
    deblur.page.set_input_files("#deblur-file", tmp_path / "photo.png")
    deblur.wait_for_text("#deblur-note", "cannot be read")
    assert deblur.page.is_disabled("#deblur-run")


KERNELS = {
    "gaussian": {"psf-sigma": "1.6"},
    "disk": {"psf-radius": "3"},
    "motion": {"psf-length": "9", "psf-degrees": "25"},
}


@pytest.mark.parametrize("kind", KERNELS)
def test_the_preview_is_the_service_s_own_kernel(deblur: Console, kind: str) -> None:
    """The kernel drawn here (and used on the example) is the one that the service will undo."""
    page = deblur.page
    page.select_option("#psf-kind", kind)
    for field, value in KERNELS[kind].items():
        page.fill(f"#{field}", value)
    script = """async () => {
        const { kernelOf, specOf } = await import("/static/kernels.js");
        return kernelOf(specOf(document.getElementById("psf-kind").value));
    }"""
    found = page.evaluate(script)
    mine = np.array(found["values"]).reshape(found["side"], found["side"])
    theirs = getattr(kernels, kind)(*(float(value) for value in KERNELS[kind].values()))
    side = max(len(mine), len(theirs))
    rim = (side - len(mine)) // 2
    np.testing.assert_allclose(np.pad(mine, rim), kernels.framed(theirs, side).numpy(), atol=1e-6)
