"""The array codec: what goes in comes out, and nothing but the two promised errors is ever raised."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service import arrays
from service.errors import InvalidInput, MalformedBody

DTYPES = st.sampled_from([np.dtype(d) for d in ("<f4", "<f8", "<i1", "<i2", "<i4", "<i8", "<u1", "<u2", "<u4", "<u8")])
SHAPES = npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)
ARRAYS = DTYPES.flatmap(lambda dtype: npst.arrays(dtype, SHAPES))
FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)


def check_decodes_or_refuses(decode: Callable[[Any], np.ndarray], value: Any) -> None:
    """Either finite float64 rows come out, or a promised error that names the field; anything else fails the test."""
    refused: list[InvalidInput | MalformedBody] = []
    try:
        out = decode(value)
    except (InvalidInput, MalformedBody) as error:
        refused.append(error)
    if refused:
        assert refused[0].errors[0].field.startswith("observations")
        return
    assert out.ndim == 2
    assert out.dtype == np.float64
    assert np.isfinite(out).all()


@given(ARRAYS, st.booleans())
def test_npy_round_trip(array: np.ndarray, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    back = arrays.decode_npy(arrays.encode_npy(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(ARRAYS)
def test_object_round_trip(array: np.ndarray) -> None:
    np.testing.assert_array_equal(arrays.decode_object(arrays.encode_object(array), "observations"), array)


@given(st.integers(1, 5).flatmap(lambda m: st.lists(st.lists(FINITE, min_size=m, max_size=m), min_size=1, max_size=5)))
def test_lists_become_float64_rows(rows: list[list[float]]) -> None:
    np.testing.assert_array_equal(arrays.decode_observations(rows), np.array(rows, dtype=np.float64))
    np.testing.assert_array_equal(arrays.decode_observations(rows[0]), np.array(rows[:1], dtype=np.float64))


@settings(max_examples=400)
@given(st.binary(max_size=60), st.integers(0, 140), st.integers(0, 140), st.sampled_from([1, 2, 3]))
def test_mutated_npy_raises_only_what_it_promises(patch: bytes, at: int, cut: int, version: int) -> None:
    good = bytearray(arrays.encode_npy(np.arange(12.0).reshape(3, 4)))
    good[6] = version
    good[at : at + len(patch)] = patch
    check_decodes_or_refuses(arrays.decode_observations_npy, bytes(good[: len(good) - cut]))


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3), st.lists))
def test_any_json_is_rows_or_invalid_input(value: Any) -> None:
    check_decodes_or_refuses(arrays.decode_observations, value)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ([[1.0], [2.0], [3.0], [float("nan")]], "observations[3][0]"),
        ([1.0, float("inf")], "observations[1]"),
        ([[1.0, 2.0], [3.0, True]], "observations[1][1]"),
        ([[1.0, 2.0], ["3", 4]], "observations[1][0]"),
        ([[1.0, 2.0], [None, 4]], "observations[1][0]"),
        ([[1.0, 2.0], [1.0]], "observations[1]"),
        ([[1.0, 2.0], 3.0], "observations[1]"),
        ([1.0, [2.0]], "observations[1]"),
        ([[[1.0]]], "observations[0][0]"),
        ([[1, 10**400]], "observations[0][1]"),
        ([], "observations"),
        ([[]], "observations"),
        ("1,2,3", "observations"),
        (None, "observations"),
        ({"shape": [2], "dtype": "float32"}, "observations.data"),
        ({"shape": [2], "dtype": "object", "data": ""}, "observations.dtype"),
        ({"shape": [2], "dtype": ["f"], "data": ""}, "observations.dtype"),
        ({"shape": [True], "dtype": "float32", "data": ""}, "observations.shape[0]"),
        ({"shape": [-1], "dtype": "float32", "data": ""}, "observations.shape[0]"),
        ({"shape": [1], "dtype": "float32", "data": "*"}, "observations.data"),
        ({"shape": [2], "dtype": "float32", "data": "AAAA"}, "observations.data"),
        ({"shape": [1], "dtype": "float32", "data": "AADAfw=="}, "observations[0]"),
        ({"shape": [1], "dtype": "float32", "data": "AAAAAA==", "order": "F"}, "observations.order"),
    ],
)
def test_bad_json_names_the_field(value: object, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        arrays.decode_observations(value)
    assert caught.value.errors[0].field == field
    assert len(caught.value.errors[0].detail) > 10


def npy(descr: str, shape: str, data: bytes = b"", fortran: str = "False") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (npy("<f8", "(1000000000, 64)", b"x" * 80), InvalidInput),
        (npy("<f8", "(999999999999999999, 999999999999999999)"), InvalidInput),
        (npy("|O", "(1,)", b"x" * 8), InvalidInput),
        (npy(">f8", "(1,)", b"x" * 8), InvalidInput),
        (npy("<f2", "(1,)", b"xx"), InvalidInput),
        (npy("<f8", "()", b"x" * 8), InvalidInput),
        (npy("<f8", "(0, 64)"), InvalidInput),
        (npy("<f8", "(1, 1, 1)", b"\0" * 8), InvalidInput),
        (npy("<f8", "(-1,)", b"x" * 8), MalformedBody),
        (npy("<f8", "(1,)", b"x" * 8, "None"), MalformedBody),
        (npy("<f8", "(1,)*9**9"), MalformedBody),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", MalformedBody),
        (b"\x93NUMPY\x01\x00", MalformedBody),
        (b"PK\x03\x04", MalformedBody),
        (b"", MalformedBody),
    ],
)
def test_hostile_npy_is_refused(body: bytes, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        arrays.decode_observations_npy(body)


def test_npy_headers_of_other_writers_are_read() -> None:
    data = np.array([1.0, 2.0]).tobytes()
    header = b'{"shape": (2,), "fortran_order": False, "descr": "<f8"}'
    body = b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header + data
    np.testing.assert_array_equal(arrays.decode_observations_npy(body), [[1.0, 2.0]])


def test_objects_of_base64_and_npy_agree() -> None:
    rows = np.arange(6, dtype="<f4").reshape(2, 3)
    wire = {"shape": [2, 3], "dtype": "float32", "data": base64.b64encode(rows.tobytes()).decode()}
    np.testing.assert_array_equal(
        arrays.decode_observations(wire), arrays.decode_observations_npy(arrays.encode_npy(rows))
    )
