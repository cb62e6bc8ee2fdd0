"""Inversion in this process, through the very steps of the service: prepare, solve by chunks, assemble."""

import json
from collections.abc import Mapping

import numpy as np
import torch
from tqdm import tqdm

from service.arrays import encode_npy
from service.body import NPY
from service.client.types import Comparison, Result, read_result
from service.handler import SolveHandler
from service.inference import Inference, SolveSpec
from service.prepare import RawRequest, prepare
from service.results import result_json
from service.settings import load_settings


def open_inference() -> Inference:
    """The models and the device that the environment's settings name."""
    settings = load_settings()
    torch.set_num_threads(settings.threads)
    return Inference(settings.checkpoints, settings.device, settings.engine)


def invert_locally(observations: np.ndarray, options: Mapping[str, str]) -> Result | Comparison:
    """Solve observations (m,) or (B, m); `options` are the query parameters of POST /invert."""
    inference = open_inference()
    raw = RawRequest("invert", NPY, encode_npy(observations), options, None)
    job = prepare(raw, inference, load_settings())
    handler = SolveHandler(inference)
    handler(job.spec, [encode_npy(np.atleast_2d(observations)[:1])])  # loads the model: no part of solving's time
    with tqdm(total=sum(chunk.items for chunk in job.chunks), desc="inverting", unit="obs", delay=1) as bar:
        parts = []
        for chunk in job.chunks:
            parts.append(handler(job.spec, [chunk.payload])[0].parts)
            bar.update(chunk.items)
    spec = SolveSpec.from_json(job.spec)
    return read_result(json.loads(result_json(spec, "invert", 0.0, parts)))
