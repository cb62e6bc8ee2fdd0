"""/docs: our own files only, in the page's markup and, where there is a browser, in what it does."""

import re
import shutil
import subprocess
from pathlib import Path

import anyio
import httpx
import pytest

from service.routes.docs import FILES, FOLDER
from service.security.headers import PAGE_HEADERS
from tests.service.conftest import Service
from tests.service.security.conftest import Guarded

CHROMIUM = shutil.which("chromium")


def test_the_page_and_its_files_come_from_here(guarded: Guarded) -> None:
    async def calls() -> list[httpx.Response]:
        async with guarded.running() as client:
            return [await client.get(path) for path in ("/docs", *(f"/docs/{name}" for name in FILES))]

    page, *files = anyio.run(calls)
    assert set(re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)) == {f"docs/{name}" for name in FILES}
    assert "http" not in page.text
    assert not re.search(r"<style|style=|<script(?![^>]* src=)| on[a-z]+=", page.text)
    for response in (page, *files):
        assert response.status_code == 200
        assert response.headers["content-security-policy"] == PAGE_HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["docs.html", "README.md", "..%2Fapp.py", "swagger-ui", "docs.js/"])
def test_nothing_else_is_served(guarded: Guarded, name: str) -> None:
    async def call() -> int:
        async with guarded.running() as client:
            return (await client.get(f"/docs/{name}", headers=guarded.header("reader"))).status_code

    assert anyio.run(call) in (404, 307)


def test_the_vendored_files_name_their_licence() -> None:
    assert "Apache License" in (FOLDER / "swagger-ui" / "LICENSE").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM HERE: that the page runs under its policy was not seen")
def test_a_browser_shows_every_operation_and_breaks_no_policy(service: Service, tmp_path: Path) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}"]
    look = ["--enable-logging=stderr", "--virtual-time-budget=60000", "--dump-dom", f"{service.url}/docs"]
    ran = subprocess.run([str(CHROMIUM), *flags, *look], capture_output=True, text=True, timeout=500, check=False)
    paths = httpx.get(f"{service.url}/openapi.json", timeout=60, trust_env=False).json()["paths"]
    assert not [path for path in paths if path not in ran.stdout.replace("\u200b", "").replace("<wbr>", "")]
    assert not [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
