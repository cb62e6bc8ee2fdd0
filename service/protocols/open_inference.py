"""The Open Inference Protocol, version 2 (KServe, Triton): tensors in, tensors out, in JSON or as raw bytes behind it.

A request names its tensors in JSON; with the binary tensor data extension their bytes follow the JSON, in order, and
the header ``Inference-Header-Content-Length`` says where the JSON ends. An answer is made in the same way.

Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.arrays import as_observations
from service.body import parse_json
from service.columns import COLUMNS, column
from service.errors import InvalidInput, MalformedBody, ServiceError
from service.responses import dump_json

HEADER = "Inference-Header-Content-Length"
EXTENSIONS = ["binary_tensor_data"]
OBSERVATIONS = "observations"
MAX_TENSORS = 16

_FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
_INTEGERS = {
    f"{sign}INT{bits}": f"<{kind}{bits // 8}" for sign, kind in (("", "i"), ("U", "u")) for bits in (8, 16, 32, 64)
}
DATATYPES = {name: np.dtype(code) for name, code in (_FLOATS | _INTEGERS).items()}

OUTPUTS = {"x": "FP64"} | {
    name: {"number": "FP64", "count": "INT64", "text": "BYTES"}[kind] for name, kind in COLUMNS.items()
}
"""Every output tensor and its datatype: x is (B, n), all others are (B,)."""


@dataclass(frozen=True)
class Wanted:
    """One output that the client asked for, and whether as raw bytes."""

    name: str
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """What an /infer body says: observations (B, m), the options beside them, and the outputs wanted."""

    id: str | None
    observations: np.ndarray
    parameters: dict[str, Any]
    wanted: tuple[Wanted, ...]


def explain(error: ServiceError) -> dict[str, Any]:
    """What the protocol's own clients read of an error."""
    return {"error": error.detail}


def parse_request(body: bytes, header_length: str | None) -> InferRequest:
    """Reads an /infer body.

    Raises:
        MalformedBody: it is not JSON, or not as long as it says.
        InvalidInput: a tensor, an output or the header is wrong; names the field.
    """
    end = _json_end(body, header_length)
    document, binary = parse_json(body[:end]), memoryview(body)[end:]
    parameters = _object(document.get("parameters", {}), "parameters")
    every_binary = parameters.pop("binary_data_output", False) is True
    request_id = document.get("id")
    if request_id is not None and not (isinstance(request_id, str) and len(request_id) <= 200):
        raise InvalidInput.at("id", "must be a string of at most 200 characters")
    observations = _observations(_list(document.get("inputs"), "inputs"), binary)
    return InferRequest(request_id, observations, parameters, _wanted(document.get("outputs"), every_binary))


def _json_end(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) <= 12):
        raise InvalidInput.at(HEADER, "must be the number of bytes of JSON at the start of the body")
    if int(header_length) > len(body):
        raise MalformedBody(f"{HEADER} says {header_length} bytes of JSON, but the body has {len(body)}")
    return int(header_length)


def _observations(inputs: list[Any], binary: memoryview) -> np.ndarray:
    """The one input there is, from JSON or from the bytes behind it."""
    if len(inputs) != 1:
        raise InvalidInput.at("inputs", f"holds {len(inputs)} tensors; send one, named {OBSERVATIONS!r}")
    tensor = _object(inputs[0], "inputs[0]")
    if tensor.get("name") != OBSERVATIONS:
        raise InvalidInput.at("inputs[0].name", f"must be {OBSERVATIONS!r}")
    dtype = DATATYPES.get(tensor["datatype"]) if isinstance(tensor.get("datatype"), str) else None
    if dtype is None:
        raise InvalidInput.at("inputs[0].datatype", f"is none of {', '.join(DATATYPES)}")
    shape = _shape(tensor.get("shape"), "inputs[0].shape")
    size = _object(tensor.get("parameters", {}), "inputs[0].parameters").get("binary_data_size")
    values = _values(tensor.get("data"), shape) if size is None else _raw(binary, size, shape, dtype)
    return as_observations(values, "inputs[0]")


def _raw(binary: memoryview, size: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    field, promised = "inputs[0].parameters.binary_data_size", math.prod(shape) * dtype.itemsize
    if type(size) is not int or size != promised:
        raise InvalidInput.at(field, f"must be {promised}, the size of shape and datatype")
    if len(binary) != size:
        raise InvalidInput.at(field, f"says {size} bytes, but {len(binary)} follow the JSON")
    return np.frombuffer(binary, dtype=dtype).reshape(shape)


def _values(data: object, shape: tuple[int, ...]) -> np.ndarray:
    """JSON data, flat or nested as the shape is, in row-major order."""
    flat = _flat(_list(data, "inputs[0].data"), len(shape) + 1)
    if len(flat) != math.prod(shape):
        raise InvalidInput.at("inputs[0].data", f"holds {len(flat)} values where the shape has {math.prod(shape)}")
    wrong = next((i for i, value in enumerate(flat) if type(value) not in (int, float)), None)
    if wrong is not None:
        raise InvalidInput.at(f"inputs[0].data[{wrong}]", "is not a number")
    try:
        return np.array(flat, dtype=np.float64).reshape(shape)
    except OverflowError:
        raise InvalidInput.at("inputs[0].data", "holds a number too large for a 64-bit float") from None


def _flat(data: list[Any], depth: int) -> list[Any]:
    while data and isinstance(data[0], list) and depth > 0:
        if not all(isinstance(part, list) for part in data):
            raise InvalidInput.at("inputs[0].data", "mixes lists and numbers")
        data, depth = [value for part in data for value in part], depth - 1
    return data


def _wanted(outputs: object, every_binary: bool) -> tuple[Wanted, ...]:
    if outputs is None:
        return tuple(Wanted(name, every_binary) for name in OUTPUTS)
    found = []
    for i, given in enumerate(_list(outputs, "outputs")):
        output = _object(given, f"outputs[{i}]")
        name = output.get("name")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise InvalidInput.at(f"outputs[{i}].name", f"is none of {', '.join(OUTPUTS)}")
        binary = _object(output.get("parameters", {}), f"outputs[{i}].parameters").get("binary_data", every_binary)
        found.append(Wanted(name, binary is True))
    if len({output.name for output in found}) < len(found):
        raise InvalidInput.at("outputs", "names an output twice")
    return tuple(found)


def _shape(value: object, field: str) -> tuple[int, ...]:
    sizes = _list(value, field)
    if not all(type(size) is int and 0 <= size < 2**40 for size in sizes):
        raise InvalidInput.at(field, "must be whole numbers of at least 0")
    return tuple(sizes)


def _list(value: object, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput.at(field, "must be a list" if value is not None else "is required")
    return value


def _object(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput.at(field, "must be an object")
    return dict(value)


# ------------------------------------------------------------------------------------------------------- answers


def render_response(
    head: Mapping[str, Any], x: np.ndarray, items: Sequence[Mapping[str, Any]], wanted: Sequence[Wanted]
) -> tuple[bytes, int | None]:
    """The body of an answer from x (B, n) and its items, and the length of its JSON where raw bytes follow it."""
    outputs, tail = [], []
    for output in wanted:
        is_x, datatype = output.name == "x", OUTPUTS[output.name]
        values = np.asarray(x, dtype="<f8") if is_x else column(items, output.name)
        described: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": list(values.shape)}
        if output.binary:
            raw = _to_bytes(values, datatype)
            described["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        else:
            described["data"] = values.ravel().tolist()
        outputs.append(described)
    text = dump_json({**head, "outputs": outputs})
    any_binary = any(output.binary for output in wanted)
    return b"".join([text, *tail]), len(text) if any_binary else None


def _to_bytes(values: np.ndarray, datatype: str) -> bytes:
    if datatype != "BYTES":
        return values.tobytes()
    texts = [text.encode() for text in values.tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
