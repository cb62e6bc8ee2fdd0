"""``python -m benchmarks.deblur_picture CHECKPOINTS MODEL SIDE CHANNELS``: one picture as a worker takes it.

Prints CPU seconds, and the process's GiB before it and at its peak. Not within the benchmark: a peak is a process's.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from physics.kernels import gaussian
from service.deblurring.networks import Networks
from service.deblurring.spec import NETWORK, DeblurSpec
from service.deblurring.work import Deblurring

KIB_A_GIB = 1 << 20


def _main(checkpoints: Path, model: str, side: int, channels: int) -> None:
    torch.set_num_threads(1)
    by = Deblurring(Networks(checkpoints, "cpu"))
    version = by.networks.version(model)
    spec = DeblurSpec(NETWORK, model, version, 0.01, "reflect", 1, None, side, side, channels, 8)
    generator = np.random.default_rng(0)
    by.restore(spec, gaussian(1.6).numpy(), np.full((32, 32), 0.5, np.float32))
    picture = generator.integers(0, 256, (channels, side, side), dtype=np.uint8)
    before, began = _peak(), time.process_time()
    planes = [by.restore(spec, gaussian(1.6).numpy(), plane).x for plane in picture]
    sys.stdout.write(json.dumps([time.process_time() - began, before, _peak()]))
    assert len(planes) == channels  # noqa: S101  all answers are held to the end, as a picture's are


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_A_GIB


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
