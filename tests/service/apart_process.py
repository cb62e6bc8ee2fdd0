"""Asks a process apart, ``forked`` or ``spawned``, what this one answers itself; prints how the two agree, as JSON.

A program of its own, since the copy must be made of a process without threads, and pytest has some.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from service.apart import Apart, Keeper, Spawned
from service.arrays import encode_npy
from service.deblurring.networks import Networks
from service.deblurring.spec import DeblurSpec, pack
from service.deblurring.work import Deblurring
from service.demo import make_example
from service.handler import WorkHandler
from service.inference import Inference, SolveSpec
from service.quarantine import Quarantine, attend


def starter(how: str, handler: WorkHandler) -> Callable[[], Apart]:
    if how == "forked":
        return Keeper(partial(attend, handler=handler)).start
    return partial(Spawned, [sys.executable, "-m", "service.cli", "quarantine"], dict(os.environ))


def tasks() -> list[tuple[str, bytes]]:
    """Spec and payload of an observation on torch, one on a graph, and a picture."""
    rng = np.random.default_rng(0)
    rows = {"oscillator": make_example(3).observation[None], "heat1d": rng.normal(size=(1, 64))}
    picture = DeblurSpec("dnet", "deblur", 1, 0.01, "reflect", 1, None, 16, 16, 1, 8)
    kernel, pixels = np.full((3, 3), 1 / 9, np.float32), rng.random((16, 16), np.float32)
    made = [(SolveSpec(name, 1, ("auto", "lm"), "product").to_json(), encode_npy(y)) for name, y in rows.items()]
    return [*made, (picture.to_json(), pack(kernel, pixels))]


def main() -> None:
    torch.set_num_threads(1)
    checkpoints = Path(os.environ["DECEPTRON_CHECKPOINTS"])
    inference, deblurring = Inference(checkpoints, "cpu"), Deblurring(Networks(checkpoints, "cpu"))
    inference.warm()
    deblurring.warm()
    handler = WorkHandler(inference, deblurring)
    quarantine, same = Quarantine(starter(sys.argv[1], handler), 60.0), []
    for spec, payload in tasks():
        [here] = handler(spec, [payload])
        [apart] = quarantine.run(spec, [payload])
        assert not isinstance(apart, str), apart
        same.append([here.parts[name] == apart.parts[name] for name in here.parts if name.startswith("x")])
    quarantine.limit_s = 0.0
    spec, payload = tasks()[0]
    [late] = quarantine.run(spec, [payload])
    sys.stdout.write(json.dumps({"same": same, "late": late}))


if __name__ == "__main__":
    main()
