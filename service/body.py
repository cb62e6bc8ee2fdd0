"""Request bodies: read with a limit while they stream, then parsed as JSON."""

import json
import time
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from service.errors import BodyTooLarge, MalformedBody, UnsupportedMedia

JSON, NPY = "application/json", "application/x-npy"
_DRAIN_S = 5.0


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge past `limit_bytes`, counted as it arrives: Content-Length is only a claim."""
    claimed = request.headers.get("content-length", "")
    asks_first = request.headers.get("expect", "").lower() == "100-continue"
    if asks_first and claimed.isdigit() and int(claimed) > limit_bytes:
        raise _too_large(limit_bytes)  # the sender waits for a word before it sends: nothing to drain
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit_bytes:
                await _drain(request, 8 * limit_bytes)
                raise _too_large(limit_bytes)
            chunks.append(chunk)
    except ClientDisconnect:
        raise MalformedBody("the connection closed before the body was complete") from None
    return b"".join(chunks)


async def _drain(request: Request, limit_bytes: int) -> None:
    # Closing a socket with unread bytes resets it, and the sender would lose the answer: swallow a bounded rest.
    deadline = time.monotonic() + _DRAIN_S
    size = 0
    while size < limit_bytes and time.monotonic() < deadline:
        message = await request.receive()
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _too_large(limit_bytes: int) -> BodyTooLarge:
    limit = f"{limit_bytes / 2**20:.3g} MiB"
    return BodyTooLarge(
        f"the body is larger than {limit}; send fewer observations per request, or npy in place of JSON"
    )


def content_type(request: Request) -> str:
    """JSON or NPY, from the Content-Type header. Raises UnsupportedMedia for anything else."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedMedia(f"Content-Encoding is '{encoding[:60]}'; send the body uncompressed")
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
