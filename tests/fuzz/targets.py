"""What reads a body, called directly. Each may refuse by its own error; anything else that it raises is a finding."""

import json
from collections.abc import Callable
from pathlib import Path

from models.checkpoint import MANIFEST, MODEL, CheckpointError, digest, read_manifest, read_tensors
from service.arrays import decode_object, decode_observations_npy
from service.errors import ServiceError
from service.images import decode_image
from service.protocols.open_inference import parse_request
from service.settings import CHECKPOINTS

REFUSALS = (ServiceError, CheckpointError)
MAX_PIXELS = 1 << 20
ARRAY = {"shape": [64], "dtype": "float64"}


def accepts(kind: str, data: bytes, folder: Path) -> bool:
    """Whether the reader of that kind takes the body; a refusal is a plain no. `folder` is for files."""
    try:
        TARGETS[kind](data, folder)
    except REFUSALS:
        return False
    return True


def _image(data: bytes, _folder: Path) -> None:
    decode_image(data, MAX_PIXELS)


def _base64(data: bytes, _folder: Path) -> None:
    decode_object({**ARRAY, "data": data.decode("latin-1")}, "observations")


def _safetensors(data: bytes, folder: Path) -> None:
    """The digest is made to fit: the file is what somebody wrote on purpose."""
    (path,) = sorted(CHECKPOINTS.glob(f"oscillator/1/{MANIFEST}"))
    manifest = read_manifest(path.parent).model_copy(update={"files": {MODEL: digest(data)}})
    (folder / MODEL).write_bytes(data)
    read_tensors(folder, manifest, MODEL)


def _manifest(data: bytes, folder: Path) -> None:
    (folder / MANIFEST).write_bytes(data)
    json.dumps(read_manifest(folder).model_dump(mode="json"))


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "npy": lambda data, _: void(decode_observations_npy(data)),
    "base64": _base64,
    "V2 JSON": lambda data, _: void(parse_request(data, None)),
    "PNG": _image,
    "TIFF": _image,
    "JPEG": _image,
    "safetensors": _safetensors,
    "manifest": _manifest,
}


def void(_value: object) -> None:
    """Drops a value."""
