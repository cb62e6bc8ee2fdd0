"""Pictures in and out: PNG, TIFF and JPEG bytes to arrays and back. Every byte that comes in is taken for hostile.

The size is checked before anything is decompressed, only three decoders can be reached, and one picture is
decompressed at a time. Pixel values are used as they are stored: neither gamma nor colour profile is undone.
"""

import io
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps

from service.errors import FieldError, InvalidInput, MalformedBody

FORMATS = ("PNG", "TIFF", "JPEG")
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+", b"\xff\xd8\xff")
RANGE = (-0.5, 1.5)  # noise may carry a value beyond black and white, but not this far
_OTHER_ORDER = {"16B": "16L", "16L": "16B", "16N": "16B"}
_DECODER = threading.Semaphore(1)


@dataclass(frozen=True)
class Picture:
    """Pixels (C, H, W), C = 1 or 3: uint8, uint16, or float32 where 0 is black and 1 white."""

    pixels: np.ndarray

    @property
    def bits(self) -> int:
        """Depth of a file that holds them without loss that anybody would see."""
        return 8 if self.pixels.dtype == np.uint8 else 16

    def unit(self) -> np.ndarray:
        """The pixels as float32, 0 black and 1 white."""
        return to_unit(self.pixels)


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """float32 with 0 black and 1 white, from uint8, uint16 or floats that are so already."""
    full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    return pixels.astype(np.float32) / np.float32(full)


def is_image(data: bytes) -> bool:
    """Whether the bytes begin as a PNG, TIFF or JPEG file does."""
    return data.startswith(SIGNATURES)


def decode_image(data: bytes, max_pixels: int, field: str = "image") -> Picture:
    """The first picture of a PNG, TIFF or JPEG file, upright as its EXIF orientation says.

    Palettes and CMYK become RGB; an alpha channel that is opaque throughout is dropped, any other refused.

    Raises:
        MalformedBody: no such file, or damaged; InvalidInput: too large, or of a kind that has no pixel values to use.
    """
    if not is_image(data):
        raise _unreadable(field, "it begins like none of PNG, TIFF and JPEG")
    with _DECODER, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own: of its larger limit, of odd metadata
        try:
            return _decode(data, max_pixels, field)
        except InvalidInput:
            raise
        except Image.DecompressionBombError as error:
            raise _too_large(field, "too many", max_pixels) from error
        except Exception as error:  # Pillow raises whatever its decoders run into
            raise _unreadable(field, f"it is damaged or cut short ({str(error)[:120]})") from error


def from_array(array: np.ndarray, field: str = "image") -> Picture:
    """A picture from (H, W), (H, W, 1) or (H, W, 3): uint8, uint16, or numbers with 0 black and 1 white."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.size == 0:
        shape = " x ".join(map(str, array.shape))
        raise InvalidInput.at(field, f"has shape {shape}; send H x W, or H x W x 3 for colour")
    if array.dtype not in (np.uint8, np.uint16):
        low, high = float(array.min()), float(array.max())
        if not (low >= RANGE[0] and high <= RANGE[1]):  # NaN fails this too
            text = f"goes from {low:.3g} to {high:.3g}; 0 is black and 1 is white (or send uint8)"
            raise InvalidInput.at(field, text)
        array = array.astype(np.float32)
    return Picture(np.ascontiguousarray(array.transpose(2, 0, 1)))


def encode_png(pixels: np.ndarray, bits: int) -> bytes:
    """A PNG of values (H, W) or (H, W, 3), 0 black and 1 white, clipped there; 8 or 16 bits a channel."""
    levels = np.rint(np.clip(pixels, 0.0, 1.0) * (2**bits - 1)).astype(">u2" if bits == 16 else "u1")
    colour = 2 if levels.ndim == 3 else 0
    height, width = levels.shape[:2]
    rows = np.ascontiguousarray(levels).view(np.uint8).reshape(height, -1)
    # Filter 2: each byte less the one above it, which photographs compress well by and NumPy does at once.
    filtered = np.full((height, rows.shape[1] + 1), 2, np.uint8)
    filtered[:, 1:] = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress(filtered.tobytes(), 4)
    return SIGNATURES[0] + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# ------------------------------------------------------------------------------------------------------ reading


def _decode(data: bytes, max_pixels: int, field: str) -> Picture:
    with _open(data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise _too_large(field, f"{width} x {height}", max_pixels)
        finer = _low_bytes(data, image)
        return Picture(_pixels(_upright(image), finer, field))


def _open(data: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _upright(image: Image.Image) -> Image.Image:
    upright: Image.Image = ImageOps.exif_transpose(image)
    return upright


def _low_bytes(data: bytes, image: ImageFile.ImageFile) -> np.ndarray | None:
    """The lower bytes (H, W, 3) of 16-bit colour, None for other pictures.

    Pillow keeps the upper byte of each value; read in the other byte order it is the lower one that it keeps.
    """
    orders = {_order(tile) for tile in image.tile}
    if image.mode not in ("RGB", "RGBA") or len(orders) != 1 or not orders <= set(_OTHER_ORDER):
        return None
    order = orders.pop()
    with _open(data) as again:
        again.tile = [_reordered(tile, order) for tile in again.tile]
        return np.asarray(_upright(again))[:, :, :3]


def _order(tile: Any) -> str:
    """16B, 16L or 16N where a tile's raw mode is RGB or RGBA of 16 bits."""
    mode, _, order = _raw_mode(tile).partition(";")
    return order if mode in ("RGB", "RGBA", "RGBX") else ""


def _raw_mode(tile: Any) -> str:
    return str(tile.args if isinstance(tile.args, str) else tile.args[0])


def _reordered(tile: Any, order: str) -> Any:
    mode = _raw_mode(tile).replace(order, _OTHER_ORDER[order])
    return tile._replace(args=mode if isinstance(tile.args, str) else (mode, *tile.args[1:]))


def _pixels(image: Image.Image, low_bytes: np.ndarray | None, field: str) -> np.ndarray:
    """(C, H, W), uint8 or uint16."""
    if image.mode.startswith(("I", "F")):
        return _single(np.asarray(image), field)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if int(np.asarray(image.getchannel("A")).min()) < 255:
            raise InvalidInput.at(field, "is transparent in places; flatten it first: what is behind it is not known")
        image = image.convert("RGB")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    pixels = np.atleast_3d(np.asarray(image))
    if low_bytes is not None:
        pixels = pixels.astype(np.uint16) * 256 + low_bytes
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _single(values: np.ndarray, field: str) -> np.ndarray:
    """Grey of more than 8 bits (1, H, W): integers of 16 bits, or floats from black at 0 to white at 1."""
    if values.dtype.kind == "f":
        return from_array(values, field).pixels
    if values.min() < 0 or values.max() > 65535:
        raise InvalidInput.at(field, "holds integers outside 0 to 65535; save it with 8 or 16 bits a channel")
    return np.asarray(values[None], dtype=np.uint16)


def _too_large(field: str, pixels: str, limit: int) -> InvalidInput:
    return InvalidInput.at(field, f"has {pixels} pixels; at most {limit} are allowed: crop it or scale it down")


def _unreadable(field: str, detail: str) -> MalformedBody:
    text = f"cannot be read as a picture: {detail}; send a PNG, TIFF or JPEG file"
    return MalformedBody(f"{field}: {text}", [FieldError(field, text)])


__all__ = ["FORMATS", "Picture", "decode_image", "encode_png", "from_array", "is_image", "to_unit"]
