"""Pictures: read exactly what they hold, upright; refuse what they only claim."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidInput, MalformedBody, ServiceError
from service.images import decode_image, encode_png, from_array, is_image
from tests.service.files import pillow_file, png16, png_around, tiff16

LIMIT = 2**20
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7), np.uint16)
DEEP_COLOUR = RNG.integers(0, 65536, (5, 7, 3), np.uint16)
OPAQUE = np.full((5, 7, 1), 255, np.uint8)
PALETTE = np.where(GREY > 128, 200, 50).astype(np.uint8)


def decoded(data: bytes) -> np.ndarray:
    """(H, W) or (H, W, 3)."""
    pixels = decode_image(data, LIMIT).pixels
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


EXACT: dict[str, tuple[bytes, np.ndarray]] = {
    "grey png": (pillow_file(GREY, "PNG"), GREY),
    "grey tiff": (pillow_file(GREY, "TIFF"), GREY),
    "colour png": (pillow_file(COLOUR, "PNG"), COLOUR),
    "colour tiff, lzw": (pillow_file(COLOUR, "TIFF", compression="tiff_lzw"), COLOUR),
    "16-bit grey png": (png16(DEEP[:, :, None]), DEEP),
    "16-bit grey tiff": (pillow_file(DEEP, "TIFF"), DEEP),
    "16-bit colour png": (png16(DEEP_COLOUR), DEEP_COLOUR),
    "16-bit colour png, opaque": (png16(np.dstack([DEEP_COLOUR, np.full((5, 7), 65535, "u2")])), DEEP_COLOUR),
    "16-bit colour tiff, II": (tiff16(DEEP_COLOUR, "<", False), DEEP_COLOUR),
    "16-bit colour tiff, MM": (tiff16(DEEP_COLOUR, ">", False), DEEP_COLOUR),
    "16-bit colour tiff, II, deflate": (tiff16(DEEP_COLOUR, "<", True), DEEP_COLOUR),
    "16-bit colour tiff, MM, deflate": (tiff16(DEEP_COLOUR, ">", True), DEEP_COLOUR),
    "16-bit colour tiff, turned": (tiff16(DEEP_COLOUR, "<", False, 6), np.rot90(DEEP_COLOUR, -1)),
    "opaque alpha": (pillow_file(np.dstack([COLOUR, OPAQUE]), "PNG"), COLOUR),
    "opaque grey and alpha": (pillow_file(GREY, "PNG", "LA"), np.dstack([GREY] * 3)),
    "palette": (pillow_file(PALETTE, "PNG", "P"), np.dstack([PALETTE] * 3)),
    "black and white": (
        pillow_file(np.where(GREY > 128, 255, 0).astype("u1"), "PNG", "1"),
        np.where(GREY > 128, 255, 0),
    ),
    "cmyk tiff": (pillow_file(PALETTE, "TIFF", "CMYK"), np.dstack([PALETTE] * 3)),
}


@pytest.mark.parametrize("name", EXACT)
def test_reads_what_is_there(name: str) -> None:
    data, expected = EXACT[name]
    np.testing.assert_array_equal(decoded(data), expected)
    assert decode_image(data, LIMIT).bits == (16 if expected.dtype == np.uint16 else 8)


def test_jpeg_is_close() -> None:
    smooth = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)
    for mode, expected in (("L", smooth), ("RGB", np.dstack([smooth] * 3)), ("CMYK", np.dstack([smooth] * 3))):
        found = decoded(pillow_file(smooth, "JPEG", mode, quality=95))
        assert np.abs(found.astype(int) - expected).max() <= 3


TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_upright_by_exif(orientation: int, kind: str) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 274, 3, 1, orientation, 0) + bytes(4)
    data = (
        pillow_file(COLOUR, "PNG", exif=exif)
        if kind == "PNG"
        else pillow_file(COLOUR, "TIFF", tiffinfo={274: orientation})
    )
    np.testing.assert_array_equal(decoded(data), TURNED[orientation](COLOUR))


def test_float_tiff_holds_values_in_the_unit_range() -> None:
    np.testing.assert_array_equal(
        decoded(pillow_file(GREY.astype(np.float32) / 255, "TIFF")), GREY.astype(np.float32) / 255
    )


PNG = pillow_file(COLOUR, "PNG")
HALF_CLEAR = np.dstack([COLOUR, RNG.integers(0, 256, (5, 7), np.uint8)])
REFUSED: dict[str, tuple[type[ServiceError], str, bytes]] = {
    "nothing": (MalformedBody, "none of PNG", b""),
    "text": (MalformedBody, "none of PNG", b"hello"),
    "a gif": (MalformedBody, "none of PNG", pillow_file(GREY, "GIF")),
    "postscript, which runs programs": (MalformedBody, "none of PNG", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
    "only a signature": (MalformedBody, "damaged", PNG[:8]),
    "truncated png": (MalformedBody, "damaged", PNG[: len(PNG) - 40]),
    "truncated jpeg": (MalformedBody, "damaged", pillow_file(RNG.integers(0, 256, (64, 64), np.uint8), "JPEG")[:900]),
    "truncated tiff": (MalformedBody, "damaged", pillow_file(COLOUR, "TIFF")[:120]),
    "one bit turned": (MalformedBody, "damaged", PNG[:45] + bytes([PNG[45] ^ 4]) + PNG[46:]),
    "too large": (InvalidInput, "2000 x 2000 pixels", png_around(2000, 2000, 8, 2, b"")),
    "a bomb": (InvalidInput, "pixels; at most", png_around(20000, 20000, 1, 0, zlib.compress(bytes(2501 * 20000)))),
    "a larger bomb": (InvalidInput, "pixels; at most", png_around(2**31 - 1, 2**31 - 1, 8, 2, b"")),
    "no rows": (MalformedBody, "damaged", png_around(7, 0, 8, 2, zlib.compress(b""))),
    "too little data": (MalformedBody, "damaged", png_around(700, 700, 8, 2, zlib.compress(b"123"))),
    "half clear": (InvalidInput, "transparent in places", pillow_file(HALF_CLEAR, "PNG")),
    "a clear colour": (InvalidInput, "transparent in places", pillow_file(GREY, "PNG", transparency=int(GREY[0, 0]))),
    "a clear palette entry": (
        InvalidInput,
        "transparent in places",
        pillow_file(PALETTE, "PNG", "P", transparency=b"\0" * 256),
    ),
    "floats in thousands": (InvalidInput, "0 is black", pillow_file(np.full((5, 7), 1000.0, np.float32), "TIFF")),
    "32-bit integers": (InvalidInput, "outside 0 to 65535", pillow_file(np.full((5, 7), 70000, np.int32), "TIFF")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    kind, text, data = REFUSED[name]
    with pytest.raises(kind, match=text) as caught:
        decode_image(data, LIMIT, "image")
    assert caught.value.errors[0].field == "image"
    assert len(caught.value.detail) < 400


@given(st.data())
def test_no_change_of_bytes_gets_past_the_two_refusals(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([file for file, _ in EXACT.values()]))
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(8, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = decode_image(bytes(changed[: data.draw(st.integers(8, len(changed)))]), LIMIT)
    except (InvalidInput, MalformedBody):
        return
    assert picture.pixels.ndim == 3
    assert picture.pixels.shape[0] in (1, 3)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1), (1, 1, 3)])
def test_png_round_trip(shape: tuple[int, ...], bits: int) -> None:
    levels = RNG.integers(0, 2**bits, shape)
    np.testing.assert_array_equal(decoded(encode_png(levels / (2**bits - 1), bits)), levels)
    over = encode_png(np.where(levels > 100, 7.0, -7.0), bits)
    np.testing.assert_array_equal(decoded(over), np.where(levels > 100, 2**bits - 1, 0))


def test_from_array() -> None:
    assert from_array(GREY).pixels.shape == (1, 5, 7)
    assert from_array(COLOUR).bits == 8
    np.testing.assert_allclose(from_array(DEEP).unit()[0], DEEP / 65535, atol=1e-7)
    assert from_array(GREY[:, :, None] / 255).unit().dtype == np.float32
    for wrong in (
        GREY[None, None],
        COLOUR[:, :, :2],
        np.zeros((0, 5)),
        np.full((3, 3), np.nan),
        np.full((3, 3), 255.0),
    ):
        with pytest.raises(InvalidInput, match="image"):
            from_array(wrong)


def test_is_image_knows_its_own_kinds() -> None:
    assert is_image(PNG)
    assert not is_image(b"\x93NUMPY")
