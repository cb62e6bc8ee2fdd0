"""Training, validation, test and calibration items: drawn once from the prior, each split from a stream of its own."""

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Generator, Tensor

from physics.problem import Problem
from training.recipes import Recipe

JITTER = 1e-10  # of the mean variance of y: far below any noise, and enough to invert the moments of a few items


class Split(IntEnum):
    """Streams of randomness; a split's items never depend on another split's size."""

    TRAIN, VALIDATION, TEST, CALIBRATION = range(4)


@dataclass(frozen=True)
class Items:
    """Unknowns x (N, n), noiseless observations clean (N, m) and noisy ones y (N, m), float64."""

    x: Tensor
    clean: Tensor
    y: Tensor


def draw(problem: Problem, split: Split, count: int, seed: int) -> Items:
    """Draws a split; the same (problem, split, count, seed) gives the same items."""
    generator = Generator().manual_seed(seed * len(Split) + int(split))
    x, clean = problem.simulate(count, generator)
    return Items(x, clean, problem.observe(clean, generator))


def split_of(problem: Problem, recipe: Recipe, split: Split) -> Items:
    """The recipe's items of a split."""
    count = {
        Split.TRAIN: recipe.train_items,
        Split.VALIDATION: recipe.validation_items,
        Split.TEST: recipe.test_items,
        Split.CALIBRATION: recipe.calibration_items,
    }[split]
    return draw(problem, split, count, recipe.data_seed)


@dataclass(frozen=True)
class LinearEstimator:
    """Linear minimum-mean-square-error estimate x = mean_x + C_xy C_yy^-1 (y - mean_y), fitted to items."""

    matrix: Tensor
    offset: Tensor
    prior_mean: Tensor

    @classmethod
    def fit(cls, items: Items) -> "LinearEstimator":
        """Least squares of x on noisy y over all items."""
        mean_x, mean_y = items.x.mean(0), items.y.mean(0)
        dx, dy = items.x - mean_x, items.y - mean_y
        C_yy = dy.T @ dy / len(dy)
        C_yy.diagonal().add_(JITTER * C_yy.diagonal().mean())
        matrix = torch.linalg.solve(C_yy, dy.T @ dx / len(dy)).T
        return cls(matrix, mean_x - matrix @ mean_y, mean_x)

    def __call__(self, y: Tensor) -> Tensor:
        """(B, m) -> (B, n)."""
        return y @ self.matrix.T.to(y) + self.offset.to(y)
