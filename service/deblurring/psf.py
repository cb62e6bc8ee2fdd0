"""The point spread function of a request: a name and numbers, a matrix, or a picture of it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physics import kernels
from service.arrays import decode_list, decode_npy, decode_object
from service.errors import InvalidInput
from service.images import decode_image, is_image

FIELD = "psf"
SHAPES: dict[str, tuple[tuple[str, ...], Callable[..., Tensor], Callable[..., float]]] = {
    "gaussian": (("sigma",), kernels.gaussian, lambda sigma: kernels.GAUSSIAN_REACH * sigma),
    "disk": (("radius",), kernels.disk, lambda radius: radius),
    "motion": (("length", "degrees"), kernels.motion, lambda length, degrees: length / 2),
}
"""Name -> its numbers, what makes the kernel of them, and how far that reaches (pixels)."""


def parse_psf(value: object, max_side: int) -> np.ndarray:
    """float32 (kh, kw), odd sides, sum 1, from a matrix, an array object or ``{"gaussian": {"sigma": 1.3}}``.

    Raises InvalidInput.
    """
    if isinstance(value, Mapping) and not {"shape", "dtype", "data"} & set(value):
        return _shaped(value, max_side)
    matrix = decode_object(value, FIELD) if isinstance(value, Mapping) else decode_list(value, FIELD)
    return tidy_kernel(matrix, max_side)


def psf_of_file(data: bytes, max_side: int) -> np.ndarray:
    """The same from an npy file, or from a picture whose brightness it is. Raises InvalidInput, MalformedBody."""
    if not is_image(data):
        return tidy_kernel(decode_npy(data, FIELD), max_side)
    pixels = decode_image(data, 16 * max_side**2, FIELD).pixels
    return tidy_kernel(pixels.mean(0, dtype=np.float64), max_side)


def tidy_kernel(matrix: np.ndarray, max_side: int) -> np.ndarray:
    """A matrix as a kernel: its empty rim cut off, made odd and of sum 1. Raises InvalidInput."""
    try:
        kernel = kernels.tidy(torch.tensor(matrix, dtype=torch.float64))
    except ValueError as error:
        raise InvalidInput.at(FIELD, str(error)) from error
    if max(kernel.shape) > max_side:
        raise _too_large(" x ".join(map(str, kernel.shape)), max_side)
    return np.asarray(kernel.numpy(), dtype=np.float32)


def _shaped(value: Mapping[str, Any], max_side: int) -> np.ndarray:
    if len(value) != 1 or (name := next(iter(value))) not in SHAPES:
        raise InvalidInput.at(FIELD, f"is one of a matrix, an array object, {', '.join(SHAPES)}")
    names, make, reach = SHAPES[name]
    given = value[name]
    if not isinstance(given, Mapping) or set(given) != set(names):
        raise InvalidInput.at(f"{FIELD}.{name}", f"takes {' and '.join(names)}, no more and no less")
    numbers = {key: _number(given[key], f"{FIELD}.{name}.{key}") for key in names}
    if 2 * abs(reach(**numbers)) + 1 > max_side:
        raise _too_large(f"about {2 * math.ceil(abs(reach(**numbers))) + 1} wide", max_side)
    try:
        return np.asarray(make(**numbers).numpy(), dtype=np.float32)
    except ValueError as error:
        raise InvalidInput.at(f"{FIELD}.{name}", str(error)) from error


def _number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        raise InvalidInput.at(field, "must be a number, and not a huge one")
    return float(value)


def _too_large(shown: str, max_side: int) -> InvalidInput:
    return InvalidInput.at(FIELD, f"is {shown}; a kernel may have at most {max_side} pixels a side")
