"""Bodies that are nearly right: valid files of each kind, and what chance breaks in them."""

import base64
import io
import json
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
from PIL import Image
from safetensors.numpy import save as save_safetensors

from models.checkpoint import MANIFEST
from service.arrays import encode_npy, encode_object
from service.demo import make_example
from service.settings import CHECKPOINTS

HEAD_BYTES = 160  # where a format says what it is: half of all edits go there
SPECIAL = (
    b"\x00",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"{",
    b"}",
    b"(",
    b",",
    b"'",
    b"9" * 20,
    b"-1",
    b"NaN",
)


@cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """Valid bodies of a kind (a key of SEEDS)."""
    return tuple(SEEDS[kind]())


def mutated(kind: str, random: Random) -> bytes:
    """A valid body of that kind after one to four edits."""
    data = random.choice(seeds(kind))
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, random.choice((min(HEAD_BYTES, len(data)), len(data))))
        data = random.choice(EDITS)(random, data, at)
    return data


def _flip(random: Random, data: bytes, at: int) -> bytes:
    return data[:at] + bytes([byte ^ 1 << random.randrange(8) for byte in data[at : at + 1]]) + data[at + 1 :]


def _overwrite(random: Random, data: bytes, at: int) -> bytes:
    new = _new(random)
    return data[:at] + new + data[at + len(new) :]


def _insert(random: Random, data: bytes, at: int) -> bytes:
    return data[:at] + _new(random) + data[at:]


def _delete(random: Random, data: bytes, at: int) -> bytes:
    return data[:at] + data[at + random.randint(1, 32) :]


def _repeat(random: Random, data: bytes, at: int) -> bytes:
    return data[: at + random.randint(1, 64)] + data[at:]


def _cut(_random: Random, data: bytes, at: int) -> bytes:
    return data[:at]


def _new(random: Random) -> bytes:
    return random.choice((*SPECIAL, random.randbytes(random.randint(1, 12))))


EDITS: tuple[Callable[[Random, bytes, int], bytes], ...] = (_flip, _overwrite, _insert, _delete, _repeat, _cut)


# -------------------------------------------------------------------------------------------------- valid bodies


def _npy() -> list[bytes]:
    y = make_example(3).observation
    return [
        encode_npy(y),
        encode_npy(np.stack([y, y]).astype(np.float32)),
        encode_npy(np.zeros((1, 64), dtype=np.int16)),
    ]


def _invert_json() -> list[bytes]:
    y = make_example(3).observation
    box = {"box": {"lower": -3, "upper": 3}, "fixed": {"indices": [0], "values": [1.0]}}
    options = {"preset": "product", "max_iterations": 3, "relaxation": 1.0, "tolerance": None, "history": True}
    head = {"model": "oscillator", "method": "oneshot"}
    bodies = [
        {**head, "observations": encode_object(y), "options": options},
        {**head, "observations": [round(float(value), 3) for value in y], "constraint": box},
    ]
    return [json.dumps(body).encode() for body in bodies]


def _infer_json() -> list[bytes]:
    y = make_example(3).observation
    tensor = {"name": "observations", "shape": [1, 64], "datatype": "FP64"}
    asked = {
        "parameters": {"method": "oneshot"},
        "id": "7",
        "outputs": [{"name": "x", "parameters": {"binary_data": True}}],
    }
    return [json.dumps({"inputs": [{**tensor, "data": [y.tolist()]}], **asked}).encode()]


def _deblur_json() -> list[bytes]:
    image = np.round(np.random.default_rng(0).random((12, 9)), 2)
    bodies = [
        {"image": image.tolist(), "psf": {"gaussian": {"sigma": 1.0}}, "noise_std": 0.01, "method": "wiener"},
        {
            "image": encode_object(image),
            "psf": [[0, 1, 0], [1, 4, 1], [0, 1, 0]],
            "noise_std": None,
            "method": "wiener",
        },
    ]
    return [json.dumps(body).encode() for body in bodies]


def _images(form: str, modes: dict[str, tuple[int, ...]]) -> Callable[[], list[bytes]]:
    def make() -> list[bytes]:
        return [_saved(form, mode, shape) for mode, shape in modes.items()]

    return make


def _saved(form: str, mode: str, shape: tuple[int, ...]) -> bytes:
    high = 65536 if mode.startswith("I") else 2 if mode == "1" else 256
    pixels = np.random.default_rng(1).integers(0, high, shape, dtype=np.uint16 if high > 256 else np.uint8)
    image = Image.fromarray(pixels) if mode.startswith("I") else Image.fromarray(pixels).convert(mode)
    if mode == "RGBA":
        image.putalpha(255)  # transparent pictures are refused
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def _safetensors() -> list[bytes]:
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.weight": np.ones((4,), dtype=np.float64)}
    return [save_safetensors(tensors), save_safetensors(tensors, {"format": "pt"})]


def _manifest() -> list[bytes]:
    return [path.read_bytes() for path in sorted(CHECKPOINTS.glob(f"oscillator/*/{MANIFEST}"))]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "npy": _npy,
    "invert JSON": _invert_json,
    "V2 JSON": _infer_json,
    "deblur JSON": _deblur_json,
    "PNG": _images("PNG", {"L": (6, 9), "RGBA": (5, 7, 4), "P": (6, 6), "I;16": (4, 5)}),
    "TIFF": _images("TIFF", {"L": (6, 9), "RGB": (5, 7, 3), "I;16": (4, 5), "1": (8, 8)}),
    "JPEG": _images("JPEG", {"L": (8, 8), "RGB": (9, 8, 3), "CMYK": (8, 8, 4)}),
    "safetensors": _safetensors,
    "manifest": _manifest,
    "base64": lambda: [base64.b64encode(make_example(3).observation.tobytes())],
}
