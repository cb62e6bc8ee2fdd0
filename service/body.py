"""Request bodies: read with a limit while they stream, then parsed as JSON."""

import asyncio
import json
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from service.errors import BodyTooLarge, BodyTooSlow, MalformedBody, UnsupportedMedia

JSON, NPY = "application/json", "application/x-npy"


async def read_body(request: Request, limit_bytes: int, limit_s: float) -> bytes:
    """The whole body. Raises BodyTooLarge past `limit_bytes`, counted as it arrives: Content-Length is only a claim.

    Raises BodyTooSlow when it is not there within `limit_s`.
    """
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > limit_bytes:
        raise _too_large(limit_bytes)  # it admits as much; the server swallows the rest, so the sender sees the answer
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limit_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit_bytes:
                    raise _too_large(limit_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise BodyTooSlow(f"the body had not arrived after {limit_s:g} s; send less at once, or faster") from None
    except ClientDisconnect:
        raise MalformedBody("the connection closed before the body was complete") from None
    return b"".join(chunks)


def _too_large(limit_bytes: int) -> BodyTooLarge:
    limit = f"{limit_bytes / 2**20:.3g} MiB"
    return BodyTooLarge(
        f"the body is larger than {limit}; send fewer observations per request, or npy in place of JSON"
    )


def require_plain(request: Request) -> None:
    """Raises UnsupportedMedia for a compressed body."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedMedia(f"Content-Encoding is '{encoding[:60]}'; send the body uncompressed")


def content_type(request: Request) -> str:
    """JSON or NPY, from the Content-Type header. Raises UnsupportedMedia for anything else."""
    require_plain(request)
    given = request.headers.get("content-type", "")
    media = given.split(";")[0].strip().lower()
    if media == JSON or (media.startswith("application/") and media.endswith("+json")):
        return JSON
    if media in (NPY, "application/npy", "application/x-numpy"):
        return NPY
    shown = f"'{media[:60]}'" if media else "missing"
    raise UnsupportedMedia(f"Content-Type is {shown}; send {JSON} or {NPY}")


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. NaN and Infinity pass here, so that their element's name can be given later."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        value = _parse_leniently(body, error)
    if not isinstance(value, dict):
        raise MalformedBody("the body is JSON, but not an object; send {'model': ..., 'observations': ...}")
    return value


def _parse_leniently(body: bytes, error: orjson.JSONDecodeError) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise MalformedBody("the body is not valid JSON: it is nested too deeply") from None
    except ValueError:
        if not body.strip():
            raise MalformedBody("the body is empty; send a JSON object") from None
        raise MalformedBody(f"the body is not valid JSON: {error.msg} at line {error.lineno}") from None
