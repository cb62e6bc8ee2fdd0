"""Takes the README's picture of the console: `.venv/bin/python scripts/take_picture.py URL` (a running service)."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SIZE = {"width": 1320, "height": 1120}


def main(url: str, path: Path) -> None:
    """Opens the page, presses the button, keeps what the window shows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(url)
        page.click("#run:enabled")
        page.wait_for_selector("#verdict:visible")
        page.wait_for_selector("#trust-plot canvas")
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], ROOT / "docs" / "console.png")
