"""The console page at / and its few files: static, self-contained, under a policy that lets nothing else in."""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request, Response

from service.errors import NotFound
from service.security.headers import PAGE_HEADERS

WEB = Path(__file__).resolve().parent.parent / "web"
PAGE = "index.html"
# fmt: off
SCRIPTS = (
    "api.js", "app.js", "chart.js", "deblur.js", "dom.js", "health.js", "invert.js", "jobs.js", "kernels.js", "maps.js",
    "numbers.js", "panels.js", "problem.js", "request.js", "result.js", "trust.js", "verdict.js", "words.js",
)
# fmt: on
PLOTTER, PLOTTER_STYLE, PLOTTER_LICENSE = "vendor/uPlot.iife.min.js", "vendor/uPlot.min.css", "vendor/uPlot.LICENSE"
MEDIA_TYPES = {
    PAGE: "text/html; charset=utf-8",
    "icon.svg": "image/svg+xml",
    PLOTTER_LICENSE: "text/plain; charset=utf-8",
    **dict.fromkeys(("style.css", "views.css", PLOTTER_STYLE), "text/css; charset=utf-8"),
    **dict.fromkeys((*SCRIPTS, PLOTTER), "text/javascript; charset=utf-8"),
}
"""Every file that is served, and nothing that is not in here."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Asset:
    """One file of the page."""

    content: bytes
    etag: str


@lru_cache(maxsize=64)
def read_asset(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content, f'"{sha256(content).hexdigest()[:32]}"')


@router.api_route("/", methods=["GET", "HEAD"])
def page(request: Request) -> Response:
    """The console."""
    return serve_file(WEB / PAGE, MEDIA_TYPES[PAGE], request)


@router.api_route("/static/{name:path}", methods=["GET", "HEAD"])
def static(name: str, request: Request) -> Response:
    """One of its files."""
    if name not in MEDIA_TYPES:
        raise NotFound("there is no such file")
    return serve_file(WEB / name, MEDIA_TYPES[name], request)


def serve_file(path: Path, media_type: str, request: Request) -> Response:
    """A file of our pages, under their policy."""
    asset = read_asset(path)
    # Always asked for again, and answered with 304 while nothing has changed: an update shows at once.
    headers = {**PAGE_HEADERS, "ETag": asset.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=media_type)
