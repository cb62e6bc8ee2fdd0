"""Jobs, health, and what holds for every view of the console: reach, contrast, phones, no other host."""

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from service.client import Client, Options
from tests.service.conftest import WAIT, wait_for
from tests.service.web.conftest import PHONE, WIDE, Console

SLOW = Options(max_iterations=3000, tolerance=1e-12)
VIEWS = ("invert", "deblur", "jobs", "health")


def test_a_job_can_be_opened_again(console: Console) -> None:
    page = console.page
    page.goto(f"{console.service.url}/#jobs")
    page.wait_for_selector("#jobs-empty:visible")
    page.click("text=Invert")
    console.run()
    page.click("text=Jobs")
    console.wait_for_text("#jobs-list .chip", "done")
    page.reload()  # the list outlives the page
    page.wait_for_selector("#jobs-list .job")
    console.picture("jobs")
    page.click("#jobs-list >> text=Open")
    page.wait_for_selector("#verdict:visible")
    assert console.text("#verdict-title") == "Believable"
    page.click("text=Jobs")
    page.click("#jobs-list >> text=Forget")
    page.wait_for_selector("#jobs-empty:visible")


def test_progress_is_live_and_a_job_can_be_canceled(console: Console, client: Client, observations: np.ndarray) -> None:
    """Another program's job, looked up by its id, followed by its events."""
    job = client.submit("oscillator", np.tile(observations, (12, 1)), method="gd", options=SLOW)
    page = console.page
    page.click("text=Jobs")
    with page.expect_request(re.compile(f"jobs/{job.id}/events")):
        page.fill("#job-id", job.id)
        page.press("#job-id", "Enter")
    console.wait_for_text("#jobs-count", "1")
    progress = page.locator("#jobs-list progress")
    progress.wait_for()
    assert progress.get_attribute("max") == "12000"
    page.click("#jobs-list >> text=Cancel")
    console.wait_for_text("#jobs-list .chip", "canceled")
    assert client.job(job).status == "canceled"


def test_expired_and_unknown_jobs_say_so(console: Console) -> None:
    page = console.page
    console.run()
    job = page.evaluate("JSON.parse(localStorage.getItem('deceptron.jobs'))[0]")
    expired = {**job, "status": "expired", "links": {}}
    page.route(f"**/jobs/{job['id']}", lambda route: route.fulfill(body=json.dumps(expired)))
    page.click("text=Jobs")
    page.click("#jobs-list >> text=Open")
    console.wait_for_text("#problem", "kept for a while")
    page.fill("#job-id", "nonsense")
    page.press("#job-id", "Enter")
    console.wait_for_text("#problem", "nonsense")


def test_what_takes_its_time_says_so(window: Callable[..., Console]) -> None:
    """Models that are still loading, an answer that is still awaited, the models' health."""
    console = window()
    page, held = console.page, []
    for what in ("models", "invert", "health/rjcp"):
        page.route(f"**/{what}", lambda route: held.append(route))

    def let_go() -> None:
        while held:
            held.pop().continue_()

    console.open(ready=False)
    assert console.text("#model") == "loading models…"
    assert page.is_disabled("#run")
    let_go()
    page.wait_for_selector("#run:enabled")
    page.click("#run")
    page.wait_for_selector("#busy:visible")
    assert page.is_visible("#cancel")
    assert page.is_disabled("#run")
    let_go()
    page.wait_for_selector("#verdict:visible")
    assert not page.is_visible("#busy")
    page.click("text=Health")
    assert console.text("#health-empty") == "Loading…"
    let_go()
    page.wait_for_selector("#health-list section")


def test_health_shows_rjcp_over_time(console: Console, http: httpx.Client, observations: np.ndarray) -> None:
    body = {"model": "oscillator", "observations": observations[:60].tolist()}
    http.post("/invert", json=body, headers=WAIT)
    wait_for(lambda: http.get("/health/rjcp").json()["models"]["oscillator"]["window"]["count"] >= 60)
    page = console.page
    page.click("text=Health")
    card = page.locator("section[aria-label=oscillator]")
    card.locator("canvas").first.wait_for()
    assert card.get_attribute("data-state") in {"ok", "warning", "critical"}
    assert int(card.locator("dd").first.inner_text()) >= 60
    assert re.match(
        r"RJCP of oscillator, \d+ answers: in range", card.locator("[role=img]").get_attribute("aria-label") or ""
    )
    console.picture("health")


@pytest.mark.parametrize(
    ("name", "size", "scheme", "rules"),
    [
        ("light", WIDE, "light", ()),
        ("dark", WIDE, "dark", ("color-contrast",)),
        ("phone", PHONE, "dark", ("scrollable-region-focusable",)),
    ],
)
def test_everybody_can_use_it(
    window: Callable[..., Console], name: str, size: dict[str, int], scheme: str, rules: tuple[str, ...]
) -> None:
    """No serious accessibility violation, nothing to scroll sideways for, no other host asked; every view."""
    console = window(size, color_scheme=scheme)
    hosts: set[str] = set()
    console.page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    console.open()
    console.page.click("text=Constraint and options")
    console.run()
    console.page.click("#more > summary")
    for view in VIEWS:
        console.page.click(f"[data-view={view}]")
        console.page.wait_for_selector(f"#view-{view}:visible")
        console.page.wait_for_timeout(300)
        assert console.serious_violations(*rules) == [], view
        assert console.wider_than_the_window() <= 0, view
    console.page.click("[data-view=invert]")
    console.picture(f"invert-{name}")
    assert hosts - {""} == {urlsplit(console.service.url).netloc}  # blob: has no host


def test_by_keyboard_alone(console: Console) -> None:
    """From the top of the page to a verdict, and to another example, with Tab, arrows and Enter."""
    page = console.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the result"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "example":
            break
    page.keyboard.press("ArrowRight")
    assert page.is_checked("input[name=example] >> nth=1")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#verdict:visible")
    assert page.evaluate("document.activeElement.id") == "output"


def test_light_and_dark_are_remembered(console: Console) -> None:
    page = console.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    dark = page.evaluate(ground)
    assert light != dark
    page.reload()
    page.wait_for_selector("#run:enabled")
    assert page.evaluate(ground) == dark
