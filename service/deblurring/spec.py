"""What decides how a picture is deblurred, and the payload of one channel."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from service.arrays import decode_npy, encode_npy

KIND = "deblur"
NETWORK = "dnet"
METHODS = (NETWORK, "wiener", "richardson_lucy", "lm", "gd", "lbfgs")
PIXELS_PER_ITEM = 1024
"""The queue counts pictures in items of so many pixels: its limits and a job's progress then follow the work."""


@dataclass(frozen=True)
class DeblurSpec:
    """All channels of a picture share one; channels of pictures of equal size and settings may share a batch.

    Attributes:
        model, version: the network's; version is None for methods without one.
        noise_std: None is estimated, channel by channel.
        height, width: of the result; channels: 1 or 3; bits: of a PNG of it.
    """

    method: str
    model: str
    version: int | None
    noise_std: float | None
    border: str
    factor: int
    max_iterations: int | None
    height: int
    width: int
    channels: int
    bits: int

    @property
    def pixels(self) -> int:
        """Of the result, all channels together."""
        return self.height * self.width * self.channels

    def to_json(self) -> str:
        """Canonical: equal specs give equal strings."""
        return json.dumps({"kind": KIND, **asdict(self)}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "DeblurSpec":
        """The inverse of to_json."""
        values: dict[str, Any] = json.loads(text)
        values.pop("kind")
        return cls(**values)


def is_deblur(spec: str) -> bool:
    """Whether a job's spec is one of these."""
    return bool(json.loads(spec).get("kind") == KIND)


def items_of(pixels: int) -> int:
    """How many items of the queue a channel of that many pixels counts."""
    return -(-pixels // PIXELS_PER_ITEM)


def pack(kernel: np.ndarray, pixels: np.ndarray) -> bytes:
    """A channel's payload: kernel (kh, kw) and pixels (h, w) as two npy files, the length of the first before them."""
    first = encode_npy(kernel)
    return len(first).to_bytes(8, "little") + first + encode_npy(pixels)


def unpack(payload: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of pack."""
    end = 8 + int.from_bytes(payload[:8], "little")
    return decode_npy(payload[8:end], "kernel"), decode_npy(payload[end:], "pixels")
