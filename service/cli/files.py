"""Files of numbers for the command line: npy, or text (CSV and the like), one observation a row."""

import re
from pathlib import Path

import numpy as np

from service.arrays import as_observations, decode_npy, encode_npy
from service.errors import InvalidInput

_BETWEEN = re.compile(r"[\s,;]+")


def read_observations(data: bytes, name: str) -> np.ndarray:
    """Observations (B, m) from an npy file, or from text whichever way its numbers are separated.

    A first line of column names is passed over; one number a line is one observation written downwards. Raises
    MalformedBody, InvalidInput.
    """
    array = decode_npy(data, name) if data.startswith(b"\x93NUMPY") or b"\0" in data else _decode_text(data, name)
    return as_observations(array, name)


def _decode_text(data: bytes, name: str) -> np.ndarray:
    try:
        lines = [
            _BETWEEN.split(line.strip(" \t\r,;")) for line in data.decode("utf-8-sig").splitlines() if line.strip()
        ]
    except UnicodeDecodeError:
        raise InvalidInput(f"{name}: is neither a .npy file nor text") from None
    if len(lines) > 1 and any(_number(cell) is None for cell in lines[0]):
        lines = lines[1:]
    rows = [[_number(cell) for cell in line] for line in lines]
    for i, row in enumerate(rows):
        if None in row:
            raise InvalidInput(f"{name}: row {i + 1} holds {lines[i][row.index(None)][:40]!r}, which is not a number")
        if len(row) != len(rows[0]):
            raise InvalidInput(f"{name}: row {i + 1} has {len(row)} numbers, the first has {len(rows[0])}")
    array = np.array(rows, dtype=np.float64)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def write_array(path: Path, array: np.ndarray) -> None:
    """As text where the name ends in .csv, else as npy."""
    if path.suffix == ".csv":
        np.savetxt(path, array, fmt="%.9g", delimiter=",")
    else:
        path.write_bytes(encode_npy(array))
