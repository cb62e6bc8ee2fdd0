"""A problem and a recipe so small that a whole training run takes a moment."""

from typing import Any

import torch
from torch import Generator, Tensor

from physics.constraints import Box
from physics.problem import Problem, Quantity
from training.data import Items, Split, draw
from training.recipes import Recipe, Stage, Weights

MIX = torch.tensor([[1.0, 0.4, 0.0], [0.0, 1.2, -0.5], [0.3, 0.0, 0.9], [0.5, -0.6, 0.2]], dtype=torch.float64)
SCALE = (1.0, 2.0, 0.5)


def forward(x: Tensor) -> Tensor:
    """(B, 3) -> (B, 4), bent a little."""
    y = (x / torch.tensor(SCALE).to(x)) @ MIX.T.to(x)
    return y + 0.15 * y.square()


def sample(count: int, generator: Generator) -> Tensor:
    unit = 2.0 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 1.0
    return unit * torch.tensor(SCALE, dtype=torch.float64)


PROBLEM = Problem(
    name="tiny",
    title="Three numbers from four",
    forward=forward,
    sample=sample,
    noise_std=0.02,
    constraint=Box([-s for s in SCALE], SCALE),
    start=(0.0, 0.0, 0.0),
    scale=SCALE,
    unknown=Quantity("numbers", 3, components=("a", "b", "c"), component_units=("1", "1", "1")),
    observation=Quantity("numbers", 4, axis=(0.0, 1.0, 2.0, 3.0), axis_label="place"),
    source="tests",
)

ALL = Weights(task=1.0, reconstruction=0.5, cycle=0.2, spectral=1e-3, tie=1e-2, composition=1e-2, jcp=0.1)


def recipe(**changes: Any) -> Recipe:
    """A surrogate and its inverse in three stages: f; g; g with JCP."""
    stages = (
        Stage("f", 7, Weights(task=1.0), ("f",)),
        Stage("g", 7, Weights(reconstruction=1.0, cycle=0.1), ("g",), schedule="cosine"),
        Stage("jcp", 7, Weights(reconstruction=1.0, jcp=0.1, contraction=0.01), ("g",), jcp_ramp=(0.2, 0.8)),
    )
    defaults: dict[str, Any] = {
        "name": "tiny",
        "version": 1,
        "problem": "tiny",
        "preset": "product",
        "forward": "surrogate",
        "architecture": "residual",
        "hidden": (8,),
        "activation": "tanh",
        "stages": stages,
        "start": "regression",
        "train_items": 100,
        "validation_items": 60,
        "test_items": 60,
        "calibration_items": 120,
        "batch_size": 32,
        "data_seed": 5,
    }
    return Recipe(**{**defaults, **changes})


def items(count: int = 100) -> Items:
    return draw(PROBLEM, Split.TRAIN, count, 5)
