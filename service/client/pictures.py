"""Pictures for the client: what `deblur` takes and gives."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.arrays import encode_npy
from service.client.types import ClientError, Item, Job, JobFailed, Result, read_result

NPY, PNG = "application/x-npy", "image/png"
Source = str | Path | bytes | np.ndarray
"""A picture or a kernel: the path of a file, its bytes, or an array."""
Kernel = Source | Mapping[str, Any]
"""A kernel may also be described: {"motion": {"length": 9, "degrees": 25}}, {"disk": {"radius": 3}}."""


@dataclass(frozen=True)
class DeblurOptions:
    """The fields of a POST /deblur; None leaves a choice to the service."""

    method: str | None = None
    noise_std: float | None = None
    downsample: int | None = None
    border: str | None = None
    max_iterations: int | None = None
    model: str | None = None
    version: int | None = None

    def fields(self) -> dict[str, str]:
        return {name: str(value) for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Deblurred:
    """The picture x (H, W) or (H, W, 3), 0 black and 1 white, and everything else that the service says of it."""

    x: np.ndarray
    job: Job
    result: Result

    @property
    def item(self) -> Item:
        return self.result.items[0]


def deblur_form(
    image: Source, psf: Kernel | None, sigma: float | None, options: DeblurOptions
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Files and fields of the form. Raises ClientError."""
    if (psf is None) == (sigma is None):
        raise ClientError("give the kernel as psf or by its sigma, one of them")
    files, fields = {"image": _content(image)}, options.fields()
    if sigma is not None:
        fields["sigma"] = repr(float(sigma))
    elif isinstance(psf, Mapping):
        fields["psf"] = json.dumps(psf)
    elif psf is not None:
        files["psf"] = _content(psf)
    return files, fields


def read_answer(document: Mapping[str, Any]) -> Result:
    """The result document of a deblurring. Raises JobFailed where it has no picture."""
    result = read_result(document)
    if not isinstance(result, Result):
        raise TypeError("the service answered a deblurring with a comparison")
    if result.items[0].error is not None:
        raise JobFailed(result.items[0].error)
    return result


def _content(source: Source) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, np.ndarray):
        if source.dtype.kind not in "fu" or source.dtype.itemsize > 8:
            raise ClientError(f"a picture holds uint8, uint16 or floats, not {source.dtype}")
        return encode_npy(source.astype(np.float32) if source.dtype.kind == "f" else source)
    return Path(source).read_bytes()
