"""The ablation's sentences follow the figures, whichever way they fall."""

import pytest
import torch

from benchmarks.directions import (
    BASE,
    COVARIANCE,
    NO_CYCLE,
    NO_JCP,
    SWAPPED,
    TIED,
    layer_claims,
    layers_name,
    step_claims,
    step_name,
    training_claims,
)
from benchmarks.variants import Outcome
from solvers.plans import PAPER_CAP

ROWS = (BASE, NO_JCP, TIED, SWAPPED, NO_CYCLE, COVARIANCE)


def outcome(
    iterations: int = 3, composition: float = 0.001, x_rmse: float = 1.2, acceptance: float = 0.8, failed: int = 0
) -> list[Outcome]:
    """Two seeds of ten items alike."""
    converged = torch.arange(10) >= failed
    one = Outcome(64, x_rmse, composition, composition, acceptance, torch.full((10,), iterations), converged)
    return [one, one]


def verdicts(sentences: list[str]) -> list[str]:
    return [sentence.split("**")[1] for sentence in sentences]


def test_every_published_direction_is_confirmed_where_it_holds() -> None:
    solved = {name: outcome() for name in ROWS}
    solved[NO_JCP] = outcome(iterations=5, composition=7.0)
    solved[TIED] = solved[SWAPPED] = outcome(iterations=16, acceptance=0.06)
    solved[COVARIANCE] = outcome(x_rmse=1.0)
    assert set(verdicts(training_claims(solved))) == {"confirmed"}


def test_and_refuted_where_it_does_not() -> None:
    solved = {name: outcome() for name in ROWS}
    solved[NO_CYCLE] = outcome(iterations=30)
    assert set(verdicts(training_claims(solved))) == {"refuted"}


def test_a_tie_that_gives_up_early_is_seen_through() -> None:
    """Fewer iterations because most items fail: the plain count refutes, the capped one does not fall for it."""
    solved = {name: outcome() for name in ROWS}
    solved[TIED] = outcome(iterations=1, failed=6)
    plain, capped = (
        sentence for sentence in training_claims(solved) if "tied to W^T" in sentence and "number" in sentence
    )
    assert "**refuted**" in plain
    assert "success 0.40" in plain
    assert "**confirmed**" in capped


@pytest.mark.parametrize(("failed", "mean"), [(0, 3.0), (5, (3.0 + PAPER_CAP) / 2)])
def test_capped_iterations(failed: int, mean: float) -> None:
    assert outcome(failed=failed)[0].capped_iterations == mean


def test_steps_and_layers_both_ways() -> None:
    steps = {step_name(curve, rho): outcome() for curve in (False, True) for rho in (0.4, 1.0)}
    assert verdicts(step_claims(steps)) == ["refuted", "confirmed"]
    steps[step_name(False, 1.0)], steps[step_name(True, 0.4)] = outcome(iterations=1), outcome(iterations=9)
    assert verdicts(step_claims(steps)) == ["confirmed", "refuted"]
    depths = {layers_name(1): outcome(), layers_name(3): outcome(x_rmse=2.0)}
    assert verdicts(layer_claims(depths)) == ["refuted"]
    depths[layers_name(3)] = outcome(x_rmse=1.0)
    assert verdicts(layer_claims(depths)) == ["confirmed"]
