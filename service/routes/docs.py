"""The API's documentation at /docs: Swagger UI from our own files, under the same policy as the console."""

from pathlib import Path

from fastapi import APIRouter, Request, Response

from service.errors import NotFound
from service.routes.console import serve_file

FOLDER = Path(__file__).resolve().parent.parent / "api_docs"
PAGE = FOLDER / "docs.html"
_SCRIPT, _STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
FILES = {
    "docs.js": (FOLDER / "docs.js", _SCRIPT),
    "swagger-ui-bundle.js": (FOLDER / "swagger-ui" / "swagger-ui-bundle.js", _SCRIPT),
    "swagger-ui.css": (FOLDER / "swagger-ui" / "swagger-ui.css", _STYLE),
}
"""Every file of the page, and nothing that is not in here."""

router = APIRouter(include_in_schema=False)


@router.api_route("/docs", methods=["GET", "HEAD"])
def docs(request: Request) -> Response:
    """The page."""
    return serve_file(PAGE, "text/html; charset=utf-8", request)


@router.api_route("/docs/{name}", methods=["GET", "HEAD"])
def docs_file(name: str, request: Request) -> Response:
    """One of its files."""
    if name not in FILES:
        raise NotFound("there is no such file")
    return serve_file(*FILES[name], request)
