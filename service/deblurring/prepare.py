"""From a request to a job: one chunk a channel."""

import hashlib

import numpy as np

from service.deblurring.networks import Networks
from service.deblurring.request import DeblurRequest
from service.deblurring.schemas import DEFAULT_MODEL
from service.deblurring.spec import KIND, NETWORK, DeblurSpec, items_of, pack
from service.queue.records import Chunk, NewJob


def spec_of(request: DeblurRequest, networks: Networks) -> DeblurSpec:
    """How the picture is to be deblurred. Raises UnknownModel, ModelUnusable."""
    given, pixels = request.parameters, request.picture.pixels
    method = given.method or _best_method(given.model, networks)
    channels, height, width = pixels.shape
    return DeblurSpec(
        method=method,
        model=given.model,
        version=networks.version(given.model, given.version) if method == NETWORK else None,
        noise_std=given.noise_std,
        border=given.border,
        factor=given.downsample,
        max_iterations=given.max_iterations,
        height=height * given.downsample,
        width=width * given.downsample,
        channels=channels,
        bits=request.picture.bits,
    )


def _best_method(model: str, networks: Networks) -> str:
    """The network's; without the one that everybody means, the best that needs none."""
    lacking = model == DEFAULT_MODEL and not networks.registry.versions(model)
    return "wiener" if lacking else NETWORK


def deblur_job(spec: DeblurSpec, request: DeblurRequest, idempotency_key: str | None) -> NewJob:
    """The job of a request."""
    text, pixels = spec.to_json(), request.picture.pixels
    digest = hashlib.sha256(f"{KIND}\n{text}\n{request.kernel.shape}\n".encode())
    digest.update(np.ascontiguousarray(request.kernel).data)
    digest.update(pixels.data)
    chunks = tuple(Chunk(pack(request.kernel, channel), items_of(spec.height * spec.width)) for channel in pixels)
    return NewJob(KIND, spec.model, text, chunks, idempotency_key, digest.hexdigest())
