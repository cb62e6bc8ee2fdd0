"""The same item in any batch gets the same answer and the same diagnostics, to the bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from service.inference import Inference, SolveSpec

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
ITEMS, MANY = 6, 1024
TRAINED = ("heat1d", "heat1d-paper", "heat1d_nonlinear", "heat3d", "oscillator", "oscillator-paper", "allen_cahn2d")


@pytest.fixture(scope="module")
def shipped() -> Inference:
    return Inference(CHECKPOINTS, "cpu")


@pytest.mark.parametrize("model", TRAINED)
def test_neighbours_change_nothing(shipped: Inference, model: str) -> None:
    manifest, problem = shipped.manifest(model), shipped.loaded(model).problem
    generator = torch.Generator().manual_seed(11)
    noise = torch.randn(ITEMS, problem.m, generator=generator, dtype=torch.float64)
    if problem.n < MANY:
        noise[ITEMS // 2] *= 6.0  # one that goes through every stage of the plan, alone
    truth = problem.sample(ITEMS, generator).double()
    y = (problem.forward(truth) + problem.noise_std * noise).numpy().astype(np.float32)
    y[1] = np.inf  # and one without an answer
    spec = SolveSpec(model, manifest.version, ("auto",), manifest.preset)

    [together] = shipped.solve(spec, y)
    for rows in np.split(np.arange(ITEMS), (1, 3)):
        [apart] = shipped.solve(spec, y[rows])
        np.testing.assert_array_equal(apart.x, together.x[rows])
        assert repr(apart.items) == repr([together.items[row] for row in rows])  # where NaN equals NaN
