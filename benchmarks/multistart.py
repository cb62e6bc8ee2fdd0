"""The reference a scientist would write: scipy.optimize.least_squares on the true physics, from many starts."""

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Generator, Tensor
from tqdm import tqdm

from models.jacobian import jacobian as explicit_jacobian
from physics.oscillator import LOWER, UPPER
from physics.problem import Problem


def multistart(problem: Problem, observation: Tensor, starts: int, seed: int) -> Tensor:
    """Best of ``starts`` bounded trust-region solves per row, analytic Jacobian, float64: (B, m) -> (B, n).

    The first start is the middle of the ranges, the others are drawn from the prior; box-constrained problems only.
    """
    first = torch.tensor([problem.start], dtype=torch.float64)
    x0 = torch.cat([first, problem.sample(starts - 1, Generator().manual_seed(seed))]).numpy()
    rows = tqdm(observation.double().numpy(), desc=f"least_squares, {starts} starts", mininterval=1.0)
    return torch.from_numpy(np.stack([_best(problem, row, x0) for row in rows]))


def _best(problem: Problem, row: np.ndarray, starts: np.ndarray) -> np.ndarray:
    def single(x: Tensor) -> Tensor:
        return problem.forward(x[None])[0]

    def residual(x: np.ndarray) -> np.ndarray:
        out: np.ndarray = single(torch.from_numpy(x)).numpy() - row
        return out

    def jacobian(x: np.ndarray) -> np.ndarray:
        out: np.ndarray = explicit_jacobian(problem.forward, torch.from_numpy(x)[None], len(row))[0].numpy()
        return out

    best: np.ndarray = starts[0]
    best_cost = np.inf
    for x0 in starts:
        found = least_squares(residual, x0, jac=jacobian, bounds=(LOWER, UPPER), x_scale=problem.scale)
        if found.cost < best_cost:
            best, best_cost = found.x, found.cost
    return best
