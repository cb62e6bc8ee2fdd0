"""What a POST /deblur says: parameters, picture and kernel, from JSON, a form, or a bare file with a query."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from physics.blur import FACTORS
from service.arrays import decode_list, decode_npy, decode_object
from service.body import JSON, NPY, parse_json
from service.deblurring.forms import MULTIPART, Part, parse_form
from service.deblurring.psf import parse_psf, psf_of_file
from service.deblurring.schemas import DeblurParameters
from service.errors import InvalidInput, UnsupportedMedia
from service.images import Picture, decode_image, from_array, is_image
from service.schemas import validate
from service.settings import Settings

IMAGES = ("image/png", "image/tiff", "image/jpeg")
BODIES = (JSON, MULTIPART, NPY, *IMAGES)
SOURCES = ("image", "psf", "sigma")


@dataclass(frozen=True)
class DeblurRequest:
    """A request read and checked, field by field; kernel float32 (kh, kw)."""

    parameters: DeblurParameters
    picture: Picture
    kernel: np.ndarray


@dataclass(frozen=True)
class _Given:
    """The fields of a request: parameters still to be validated, and how to get at picture and kernel."""

    parameters: Mapping[str, Any]
    lax: bool
    picture: Callable[[], Picture]
    kernel: Callable[[], np.ndarray]


def media_of(content_type: str) -> str:
    """Which of BODIES a Content-Type names. Raises UnsupportedMedia."""
    media = content_type.split(";")[0].strip().lower()
    alias = {"application/npy": NPY, "application/x-numpy": NPY, "image/jpg": "image/jpeg", "image/tif": "image/tiff"}
    media = alias.get(media, JSON if media.startswith("application/") and media.endswith("+json") else media)
    if media not in BODIES:
        shown = f"'{media[:60]}'" if media else "missing"
        raise UnsupportedMedia(f"Content-Type is {shown}; send one of {', '.join(BODIES)}")
    return media


def read_request(content_type: str, body: bytes, query: Mapping[str, str], settings: Settings) -> DeblurRequest:
    """Reads a body of one of BODIES. Raises InvalidInput, MalformedBody, UnsupportedMedia."""
    media = media_of(content_type)
    if media == JSON:
        given = _from_json(parse_json(body), settings)
    elif media == MULTIPART:
        given = _from_form(parse_form(body, content_type), settings)
    else:
        given = _from_query(body, query, settings)
    return _checked(given, settings)


def request_of_form(parts: dict[str, Part], settings: Settings) -> DeblurRequest:
    """The same from the parts of a form, however one came by them."""
    return _checked(_from_form(parts, settings), settings)


def _checked(given: _Given, settings: Settings) -> DeblurRequest:
    parameters = validate(DeblurParameters, given.parameters, lax=given.lax)
    if parameters.downsample not in FACTORS:
        raise InvalidInput.at("downsample", f"must be one of {', '.join(map(str, FACTORS))}")
    if parameters.max_iterations is not None and parameters.max_iterations > settings.max_iterations:
        raise InvalidInput.at("max_iterations", f"must be at most {settings.max_iterations}")
    request = DeblurRequest(parameters, given.picture(), given.kernel())
    _check_sizes(request, settings.max_image_pixels)
    return request


def _check_sizes(request: DeblurRequest, max_pixels: int) -> None:
    factor = request.parameters.downsample
    height, width = (factor * side for side in request.picture.pixels.shape[1:])
    if height * width > max_pixels:
        text = f"the picture would have {height} x {width} pixels; at most {max_pixels} are allowed"
        raise InvalidInput.at("downsample", text)
    rows, columns = request.kernel.shape
    if rows > height or columns > width:
        text = f"is {rows} x {columns}, larger than the picture of {height} x {width}"
        raise InvalidInput.at("psf", text)


# ------------------------------------------------------------------------------------------------ three ways to say it


def _from_json(data: dict[str, Any], settings: Settings) -> _Given:
    side = settings.max_kernel_side
    psf = _psf_value(data.get("psf"), data.get("sigma"))
    return _Given(
        {name: value for name, value in data.items() if name not in SOURCES},
        False,
        lambda: from_array(_json_image(data.get("image")), "image"),
        lambda: parse_psf(psf, side),
    )


def _from_form(parts: dict[str, Part], settings: Settings) -> _Given:
    side = settings.max_kernel_side
    psf, sigma = parts.get("psf"), parts.get("sigma")
    if psf is not None and psf.filename is not None:
        if sigma is not None:
            raise InvalidInput.at("sigma", "and psf are both given; send one of them")
        kernel = lambda: psf_of_file(psf.content, side)  # noqa: E731
    else:
        value = _psf_text(psf.text if psf else None, sigma.text if sigma else None)
        kernel = lambda: parse_psf(value, side)  # noqa: E731
    if "image" not in parts:
        raise InvalidInput.at("image", "is required; send a file, e.g. curl -F image=@photo.png")
    values = {name: part.text for name, part in parts.items() if name not in SOURCES}
    return _Given(_without_nothing(values), True, lambda: _file_image(parts["image"].content, settings), kernel)


def _from_query(body: bytes, query: Mapping[str, str], settings: Settings) -> _Given:
    if "image" in query:
        raise InvalidInput.at("image", "is the body itself here; leave it out of the query")
    value = _psf_text(query.get("psf"), query.get("sigma"))
    values = {name: value for name, value in query.items() if name not in SOURCES}
    return _Given(
        _without_nothing(values),
        True,
        lambda: _file_image(body, settings),
        lambda: parse_psf(value, settings.max_kernel_side),
    )


def _without_nothing(values: Mapping[str, str]) -> dict[str, str]:
    """An empty field of a form is one that nobody filled in."""
    return {name: value for name, value in values.items() if value != ""}


def _psf_text(psf: str | None, sigma: str | None) -> object:
    try:
        return _psf_value(json.loads(psf) if psf else None, float(sigma) if sigma else None)
    except (ValueError, RecursionError):
        field, text = ("psf", "is not valid JSON") if psf else ("sigma", "must be a number")
        raise InvalidInput.at(field, text) from None


def _psf_value(psf: object, sigma: object) -> object:
    if (psf is None) == (sigma is None):
        raise InvalidInput.at("psf", "is required: a sigma or a psf, and not both")
    return psf if sigma is None else {"gaussian": {"sigma": sigma}}


def _file_image(data: bytes, settings: Settings) -> Picture:
    if is_image(data) or not data.startswith(b"\x93NUMPY"):
        return decode_image(data, settings.max_image_pixels)
    return from_array(decode_npy(data, "image"))


def _json_image(value: object) -> np.ndarray:
    """Nested lists H x W or H x W x 3, or an array object."""
    if isinstance(value, Mapping):
        return decode_object(value, "image")
    if value is None:
        raise InvalidInput.at("image", "is required; send H x W numbers, or H x W x 3")
    if not isinstance(value, list) or not value or not isinstance(value[0], list) or not value[0]:
        raise InvalidInput.at("image", "is no list of lists; send H x W numbers, H x W x 3, or an array object")
    if not isinstance(value[0][0], list):
        return decode_list(value, "image")
    rows = [decode_list(row, f"image[{i}]") for i, row in enumerate(value)]
    if any(row.shape != rows[0].shape for row in rows):
        raise InvalidInput.at("image", "has rows of unequal length")
    return np.stack(rows)
