"""From a request to a job: one chunk a channel."""

import hashlib

import numpy as np

from service.deblurring.request import DeblurRequest
from service.deblurring.spec import KIND, DeblurSpec, items_of, pack
from service.queue.records import Chunk, NewJob


def spec_of(request: DeblurRequest) -> DeblurSpec:
    """How the picture is to be deblurred."""
    given, pixels = request.parameters, request.picture.pixels
    channels, height, width = pixels.shape
    return DeblurSpec(
        method=given.method,
        model=given.model,
        version=None,
        noise_std=given.noise_std,
        border=given.border,
        factor=given.downsample,
        max_iterations=given.max_iterations,
        height=height * given.downsample,
        width=width * given.downsample,
        channels=channels,
        bits=request.picture.bits,
    )


def deblur_job(spec: DeblurSpec, request: DeblurRequest, idempotency_key: str | None) -> NewJob:
    """The job of a request."""
    text, pixels = spec.to_json(), request.picture.pixels
    digest = hashlib.sha256(f"{KIND}\n{text}\n{request.kernel.shape}\n".encode())
    digest.update(np.ascontiguousarray(request.kernel).data)
    digest.update(pixels.data)
    chunks = tuple(Chunk(pack(request.kernel, channel), items_of(spec.height * spec.width)) for channel in pixels)
    return NewJob(KIND, spec.model, text, chunks, idempotency_key, digest.hexdigest())
