"""The console page as it is served: the policy it runs under, and that its files fit together.

How it behaves is seen in a browser; this holds what a browser would only show as a blank page.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import anyio
import httpx
import pytest

from service.app import create_app
from service.routes.console import MEDIA_TYPES, PAGE, SCRIPTS, WEB
from service.settings import Settings

PATHS = {PAGE: "/", **{name: f"/static/{name}" for name in MEDIA_TYPES if name != PAGE}}
OWN = [name for name in MEDIA_TYPES if not name.startswith("vendor/")]
MOST_LINES = 300


class Browser:
    """GET and HEAD against the application itself. It is never started: the page needs neither queue nor model."""

    def __init__(self) -> None:
        self.app = create_app(Settings(redis_url="redis://127.0.0.1:1/0"))

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self.app), base_url="http://localhost"
            ) as client:
                return await client.request(method, path, headers=headers)

        return anyio.run(ask)


@pytest.fixture(scope="module")
def client() -> Browser:
    return Browser()


class Page(HTMLParser):
    """Every tag with its attributes, and the text inside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.inline += data.strip()

    def all(self, attribute: str) -> Iterator[str]:
        return (attributes[attribute] for _, attributes in self.tags if attribute in attributes)


def text_of(name: str) -> str:
    return (WEB / name).read_text()


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(text_of(PAGE))


@pytest.mark.parametrize("name", PATHS)
def test_every_file_is_served_under_the_policy(client: Browser, name: str) -> None:
    answer = client.get(PATHS[name])
    assert answer.status_code == 200
    assert answer.content == (WEB / name).read_bytes()
    assert answer.headers["content-type"] == MEDIA_TYPES[name]
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' data: blob:"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get(PATHS[name], method="HEAD").headers["etag"] == answer.headers["etag"]
    unchanged = client.get(PATHS[name], headers={"if-none-match": answer.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2e%2e%2fapp.py", "index.html%00", "__init__.py"])
def test_nothing_else_is_served(client: Browser, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_folder_and_table_agree() -> None:
    files = (file for file in WEB.rglob("*") if file.is_file())
    assert {file.relative_to(WEB).as_posix() for file in files} == set(MEDIA_TYPES)


def test_scripts_and_styles_are_short() -> None:
    assert not {
        name: lines for name in OWN if name != PAGE and (lines := len(text_of(name).splitlines())) >= MOST_LINES
    }


def test_nothing_inline(page: Page) -> None:
    assert page.inline == ""
    assert not [tag for tag, _ in page.tags if tag in ("style", "base", "iframe", "object")]
    forbidden = [name for _, attributes in page.tags for name in attributes if name == "style" or name.startswith("on")]
    assert not forbidden


def test_links_stay_here_and_exist(client: Browser, page: Page) -> None:
    for link in {*page.all("src"), *page.all("href")}:
        assert not re.match(r"[a-z]+:|//|/", link), f"{link}: relative only, so that the page works behind any prefix"
        assert link.startswith("#") or client.get(f"/{link}").status_code == 200


def test_identifiers_fit_together(page: Page) -> None:
    ids = list(page.all("id"))
    assert len(ids) == len(set(ids))
    for attribute in ("for", "aria-labelledby", "aria-describedby"):
        assert set(page.all(attribute)) <= set(ids)
    views = {name.removeprefix("view-") for name in ids if name.startswith("view-")}
    assert {link[1:] for link in page.all("href") if link.startswith("#")} <= {*ids, *views}
    assert set(page.all("data-view")) == views
    scripts = "".join(text_of(name) for name in SCRIPTS)
    used = set(re.findall(r'(?:byId|show|of\(\w+,|line)\("([\w-]+)"', scripts))
    for listed in re.findall(r"\bid of \[([^\]]+)\]", scripts):
        used |= set(re.findall(r'"([\w-]+)"', listed))
    assert len(used) > 30
    assert used <= set(ids)
    assert set(
        re.findall(r"#([\w-]+)[\s:,{]", re.sub(r"#[0-9a-f]{6}", "", text_of("style.css") + text_of("views.css")))
    ) <= set(ids)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_import_what_is_served_and_write_no_markup(name: str) -> None:
    text = text_of(name)
    for names, module in re.findall(r'import \{([^}]+)\} from "\./([\w.]+)"', text):
        assert module in MEDIA_TYPES
        for imported in re.split(r",\s*", names.strip().rstrip(",")):
            origin = imported.split(" as ")[0].strip()
            assert re.search(rf"export (?:async )?(?:function|const|class) {origin}\b", text_of(module)), origin
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\"style\"", text)


@pytest.mark.parametrize("name", [name for name in OWN if name != "icon.svg"])
def test_no_other_host_is_named(name: str) -> None:
    assert not re.search(r"https?://|url\(", text_of(name))


def test_colours_the_canvas_reads_are_registered() -> None:
    """An unregistered one would reach the canvas as the text light-dark(...), which draws black."""
    used = {name for script in SCRIPTS for name in re.findall(r'"(--[\w-]+)"', text_of(script))}
    assert used
    assert used <= set(re.findall(r"@property (--[\w-]+)", text_of("style.css")))
