"""Arrays in and out of the service: JSON lists, base64 objects and .npy bodies. NumPy only; nothing is ever executed.

Everything here treats its input as hostile: a header is read before anything is allocated, the number of bytes must
agree with what the header promises, and every complaint names the field and what to do about it.
"""

import base64
import binascii
import io
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from service.errors import FieldError, InvalidInput, MalformedBody

DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(name).newbyteorder("<")
    for name in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
MAX_HEADER_BYTES = 1024
_MAGIC = b"\x93NUMPY"
_KEYS = ["descr", "fortran_order", "shape"]
_VALUE = r"'[^']*'|\"[^\"]*\"|True|False|\([0-9, ]*\)"
_ENTRY = re.compile(rf"\s*['\"](descr|fortran_order|shape)['\"]\s*:\s*({_VALUE})\s*(?:,|(?=\}}))")
_SHAPE = re.compile(r"\((?:(\d{1,18}(?:, ?\d{1,18})*),? ?)?\)")


def decode_observations(value: object, field: str = "observations") -> np.ndarray:
    """Observations from parsed JSON (lists or an array object): finite float64, shape (B, m); (m,) becomes (1, m)."""
    array = decode_object(value, field) if isinstance(value, Mapping) else decode_list(value, field)
    return as_observations(array, field)


def decode_observations_npy(data: bytes, field: str = "observations") -> np.ndarray:
    """Observations from a .npy body: finite float64, shape (B, m); (m,) becomes (1, m)."""
    return as_observations(decode_npy(data, field), field)


def as_observations(array: np.ndarray, field: str = "observations") -> np.ndarray:
    """Check dimensions, emptiness and finiteness; returns float64 of shape (B, m)."""
    if array.ndim not in (1, 2):
        _refuse(field, f"has {array.ndim} dimensions; send one observation (m values) or many (B x m)")
    if array.size == 0:
        _refuse(
            field, f"is empty (shape {_shape_text(array.shape)}); send at least one observation of at least one value"
        )
    array = np.array(array, dtype=np.float64, order="C")  # a copy: what was read from bytes is not writable
    require_finite(array, field)
    return array if array.ndim == 2 else array[None, :]


def require_finite(array: np.ndarray, field: str) -> None:
    """Refuse NaN and infinities, naming the first offending element."""
    finite = np.isfinite(array)
    if finite.all():
        return
    index = tuple(int(i) for i in np.argwhere(~finite)[0])
    value = "NaN" if np.isnan(array[index]) else "infinite"
    _refuse(f"{field}{_index_text(index)}", f"is {value}; every value must be a finite number")


# ------------------------------------------------------------------------------------------------ nested lists


def decode_list(value: object, field: str) -> np.ndarray:
    """A number list (m,) or a list of equally long number lists (B, m), strictly: no strings, booleans, nulls, rags."""
    if not isinstance(value, list):
        _refuse(field, f"is {_kind(value)}; send a list of numbers, a list of such lists, or an array object")
    if not value:
        _refuse(field, "is an empty list; send at least one observation")
    if not isinstance(value[0], list):
        return _row(value, field)
    width = len(value[0])
    rows = np.empty((len(value), width), dtype=np.float64)
    for i, row in enumerate(value):
        where = f"{field}[{i}]"
        if not isinstance(row, list):
            _refuse(where, f"is {_kind(row)} where the first observation is a list; send lists of equal length")
        if len(row) != width:
            _refuse(where, f"has {len(row)} values where {field}[0] has {width}; all observations need the same length")
        rows[i] = _row(row, where)
    return rows


def _row(values: list[Any], field: str) -> np.ndarray:
    # type() and not isinstance(): a bool is an int to isinstance.
    if not {type(v) for v in values} <= {float, int}:
        i = next(i for i, v in enumerate(values) if type(v) not in (float, int))
        _refuse(f"{field}[{i}]", f"is {_kind(values[i])}; every value must be a finite number")
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        i = next(i for i, v in enumerate(values) if _overflows(v))
        _refuse(f"{field}[{i}]", "is too large for a 64-bit float; every value must be a finite number")


def _overflows(value: float) -> bool:
    try:
        float(value)
    except OverflowError:
        return True
    return False


# ----------------------------------------------------------------------------------------------- base64 objects


def decode_object(value: Mapping[str, Any], field: str) -> np.ndarray:
    """The array object ``{"shape": [...], "dtype": "float32", "data": "<base64, little-endian, C order>"}``."""
    missing = [key for key in ("shape", "dtype", "data") if key not in value]
    unknown = sorted(set(map(str, value)) - {"shape", "dtype", "data"})
    if missing:
        _refuse(f"{field}.{missing[0]}", "is missing; an array object has shape, dtype and data")
    if unknown:
        _refuse(f"{field}.{unknown[0][:40]}", "is not known; an array object has shape, dtype and data only")
    shape = _object_shape(value["shape"], f"{field}.shape")
    dtype = DTYPES.get(value["dtype"]) if isinstance(value["dtype"], str) else None
    if dtype is None:
        _refuse(f"{field}.dtype", f"is not one of {', '.join(DTYPES)}")
    return _from_buffer(_unbase64(value["data"], f"{field}.data"), shape, dtype, f"{field}.data")


def encode_object(array: np.ndarray) -> dict[str, Any]:
    """The JSON array object of an array; the inverse of `decode_object`."""
    dtype = _wire_dtype(array.dtype)
    data = np.ascontiguousarray(array, dtype=dtype)
    return {"shape": list(array.shape), "dtype": dtype.name, "data": base64.b64encode(data.tobytes()).decode()}


def _object_shape(value: object, field: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 8:
        _refuse(field, "must be a list of one to eight whole numbers")
    for i, size in enumerate(value):
        if type(size) is not int or not 0 <= size < 10**18:
            _refuse(f"{field}[{i}]", f"is {_kind(size)}; sizes are whole numbers of at least 0")
    return tuple(value)


def _unbase64(value: object, field: str) -> bytes:
    if not isinstance(value, str):
        _refuse(field, f"is {_kind(value)}; send the bytes as a base64 string")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        _refuse(field, "is not valid base64 (the standard alphabet, with padding)")


# ---------------------------------------------------------------------------------------------------------- npy


def decode_npy(data: bytes, field: str = "body") -> np.ndarray:
    """A .npy file (format 1 to 3) of a whitelisted little-endian dtype, in C or Fortran order.

    Raises MalformedBody when it is no .npy at all, InvalidInput when its dtype, shape or size is refused.
    """
    header, start = _npy_header(data, field)
    entries = dict(_npy_entries(header, field))
    dtype = _npy_dtype(entries["descr"][1:-1], field)
    order = {"True": "F", "False": "C"}.get(entries["fortran_order"])
    shape = _SHAPE.fullmatch(entries["shape"])
    if order is None or shape is None:
        _malformed(field, "its header has no readable fortran_order and shape")
    sizes = tuple(int(size) for size in shape[1].split(",")) if shape[1] else ()
    if not 1 <= len(sizes) <= 8:
        _refuse(field, f"has {len(sizes)} dimensions; send an array of one to eight")
    return _from_buffer(data[start:], sizes, dtype, field, "F" if order == "F" else "C")


def encode_npy(array: np.ndarray) -> bytes:
    """The .npy bytes (format 1.0) of an array; the inverse of `decode_npy`."""
    array = np.ascontiguousarray(array, dtype=_wire_dtype(array.dtype)).reshape(array.shape)  # it makes 0 dimensions 1
    return b"".join((_header(array.dtype.str, array.shape), array.data))


@lru_cache(maxsize=64)
def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _npy_header(data: bytes, field: str) -> tuple[str, int]:
    """The header text and the offset of the first data byte."""
    if data[:6] != _MAGIC:
        _malformed(field, "it does not start with the NumPy signature")
    if data[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        _malformed(field, "its format version is none of 1.0, 2.0, 3.0")
    start = 10 if data[6] == 1 else 12
    size = int.from_bytes(data[8:start], "little")
    if size > MAX_HEADER_BYTES:
        _malformed(field, f"its header claims {size} bytes, more than the {MAX_HEADER_BYTES} allowed")
    if len(data) < start + size:
        _malformed(field, "it ends inside its header")
    try:
        return data[start : start + size].decode("ascii"), start + size
    except UnicodeDecodeError:
        _malformed(field, "its header is not ASCII")


def _npy_entries(header: str, field: str) -> list[tuple[str, str]]:
    # A regular expression and not literal_eval: three known keys with three known kinds of value are all there can be.
    text = header.strip()
    entries, position = [], 1
    while match := _ENTRY.match(text, position):
        entries.append((match[1], match[2]))
        position = match.end()
    if text[:1] != "{" or text[position:].strip() != "}" or sorted(k for k, _ in entries) != _KEYS:
        _malformed(field, "its header is not a dictionary of descr, fortran_order and shape")
    return entries


def _npy_dtype(descr: str, field: str) -> np.dtype[Any]:
    for dtype in DTYPES.values():
        if descr in (dtype.str, "<" + dtype.str[1:]):
            return dtype
    shown = descr if re.fullmatch(r"[<>|=]?[a-zA-Z]\d{0,3}", descr) else "an unreadable dtype"
    _refuse(field, f"has dtype {shown}; send little-endian float32, float64 or integers, e.g. array.astype('<f8')")


# ------------------------------------------------------------------------------------------------------- shared


def _from_buffer(data: bytes, shape: Sequence[int], dtype: np.dtype[Any], field: str, order: str = "C") -> np.ndarray:
    """Interpret bytes; their number must be what shape and dtype promise (checked before anything is allocated)."""
    count = math.prod(shape)
    if count * dtype.itemsize != len(data):
        promise = f"{_shape_text(shape)} {dtype.name}, {count * dtype.itemsize} bytes"
        _refuse(field, f"promises {promise}, but {len(data)} bytes follow; shape and data must agree")
    return np.frombuffer(data, dtype=dtype).reshape(tuple(shape), order="F" if order == "F" else "C")


@lru_cache(maxsize=64)
def _wire_dtype(given: np.dtype[Any]) -> np.dtype[Any]:
    dtype = DTYPES.get(given.name)
    if dtype is None:
        raise TypeError(f"cannot send an array of {given}; use one of {', '.join(DTYPES)}")
    return dtype


def _kind(value: object) -> str:
    names = {bool: "a boolean", str: "a string", type(None): "null", list: "a list", dict: "an object"}
    return names.get(type(value), "not a valid number" if isinstance(value, int | float) else "not a number")


def _index_text(index: Sequence[int]) -> str:
    return "".join(f"[{i}]" for i in index)


def _shape_text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _refuse(field: str, detail: str) -> NoReturn:
    raise InvalidInput.at(field, detail)


def _malformed(field: str, detail: str) -> NoReturn:
    raise MalformedBody(f"{field}: this is not a readable .npy file: {detail}", [FieldError(field, detail)])
