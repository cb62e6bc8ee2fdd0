"""A real Chromium for the console: what a person sees, clicks and hears from a screen reader."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.service.conftest import ROOT, Service

SCREENSHOTS = ROOT / ".screenshots"
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
# fmt: off
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
# fmt: on
PATIENCE_MS = 90_000
WIDE, PHONE = {"width": 1320, "height": 900}, {"width": 390, "height": 800}
SERIOUS = {"serious", "critical"}


@dataclass
class Console:
    """The console in one browser window."""

    page: Page
    service: Service
    complaints: list[str] = field(default_factory=list)

    def open(self, view: str = "invert", *, ready: bool = True) -> "Console":
        self.page.goto(f"{self.service.url}/#{view}")
        if ready and view == "invert":
            self.page.wait_for_selector("#run:enabled")
        return self

    def choose(self, model: str, method: str = "auto") -> None:
        """A model, with its first example."""
        self.page.select_option("#model", model)
        self.page.wait_for_selector("#run:enabled")
        self.page.select_option("#method", method)

    def run(self) -> None:
        """Press the button and wait for the verdict."""
        self.page.click("#run")
        self.page.wait_for_selector("#verdict:visible")
        self.page.wait_for_selector("#busy", state="hidden")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until an element holds a text."""
        expect(self.page.locator(selector)).to_contain_text(text, timeout=PATIENCE_MS)

    def picture(self, name: str) -> Path:
        """A screenshot of the whole page, kept for people to look at."""
        self.page.evaluate("document.activeElement?.blur()")
        self.page.wait_for_timeout(150)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def serious_violations(self, *rules: str) -> list[str]:
        """What axe-core finds serious or worse, by rule and place; of some rules only, or of all."""
        # Injected by the debugger, not by a script tag: the page's own policy would refuse that.
        self.page.evaluate(AXE.read_text())
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found: dict[str, Any] = self.page.evaluate("(options) => axe.run(options)", options)
        bad = [violation for violation in found["violations"] if violation["impact"] in SERIOUS]
        return [f"{v['id']}: {v['help']}: {[node['html'][:160] for node in v['nodes'][:4]]}" for v in bad]

    def wider_than_the_window(self) -> float:
        """Pixels by which the page would have to be scrolled sideways."""
        return float(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


# Per module: Playwright's loop runs as long as it is there, and tests elsewhere run loops of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM HERE (Debian: apt-get install chromium): the console was not looked at")
    SCREENSHOTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


Opener = Callable[..., Console]


@pytest.fixture
def window(browser: Browser, service: Service) -> Iterator[Opener]:
    """Opens windows; fails the test when a script of the page threw, or the policy stopped something."""
    contexts: list[BrowserContext] = []
    consoles: list[Console] = []

    def open_window(size: dict[str, int] = WIDE, **options: Any) -> Console:
        context = browser.new_context(viewport=size, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        console = Console(context.new_page(), service)
        console.page.on("pageerror", lambda error: console.complaints.append(str(error)))
        console.page.on("console", lambda message: note(console, message))
        consoles.append(console)
        return console

    yield open_window
    for context in contexts:
        context.close()
    assert not [complaint for console in consoles for complaint in console.complaints]


def note(console: Console, message: ConsoleMessage) -> None:
    """Chromium reports each 4xx itself; everything else that is an error is ours."""
    if message.type == "error" and "Failed to load resource" not in message.text:
        console.complaints.append(message.text)


@pytest.fixture
def console(window: Opener) -> Console:
    """The first view, ready to run."""
    return window().open()
