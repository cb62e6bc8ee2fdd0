"""Image files that Pillow does not write: 16-bit colour, and files that lie."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def pillow_file(pixels: np.ndarray, kind: str, mode: str | None = None, **options: Any) -> bytes:
    """An image of uint8 or uint16 (H, W[, C]) as Pillow saves it, converted to `mode` first."""
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def png16(pixels: np.ndarray) -> bytes:
    """uint16 (H, W, C) as a PNG of 16 bits."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png_around(width, height, 16, COLOUR_TYPES[channels], zlib.compress(rows))


def png_around(width: int, height: int, bits: int, colour: int, data: bytes) -> bytes:
    """A PNG that says so of itself, around compressed data that need not agree."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = b"".join(_chunk(kind, body) for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff16(pixels: np.ndarray, order: str, deflate: bool, orientation: int = 1) -> bytes:
    """uint16 (H, W, 3) as a TIFF of one strip; order '<' (II) or '>' (MM)."""
    height, width, channels = pixels.shape
    body = pixels.astype(f"{order}u2").tobytes()
    body = zlib.compress(body) if deflate else body
    count, offset = 11, 8
    bits_at = offset + 2 + 12 * count + 4
    data_at = bits_at + 2 * channels
    short, long_ = 3, 4
    entries = [
        (256, long_, 1, width), (257, long_, 1, height), (258, short, channels, bits_at),
        (259, short, 1, 8 if deflate else 1), (262, short, 1, 2),
        (273, long_, 1, data_at), (274, short, 1, orientation), (277, short, 1, channels),
        (278, long_, 1, height), (279, long_, 1, len(body)), (284, short, 1, 1),
    ]  # fmt: skip
    out = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, offset) + struct.pack(f"{order}H", count)
    for tag, kind, number, value in entries:
        inline = kind == short and number == 1
        out += struct.pack(f"{order}HHI", tag, kind, number)
        out += struct.pack(f"{order}HH", value, 0) if inline else struct.pack(f"{order}I", value)
    return out + bytes(4) + struct.pack(f"{order}{channels}H", *[16] * channels) + body
