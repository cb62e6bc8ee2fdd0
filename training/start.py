"""Where training begins: normalisation from the training items, and linear fits for the linear parts."""

import torch
from torch import Tensor

from models.deceptron import Deceptron, DeceptronLayer, DeceptronStack, LearnedInverse, ResidualDeceptron
from physics.problem import Problem
from training.data import Items, LinearEstimator
from training.recipes import Recipe

RIDGE = 1e-4


def prepare(deceptron: Deceptron, problem: Problem, recipe: Recipe, items: Items) -> None:
    """Sets normalisation and the linear start, in place."""
    noise = torch.tensor(problem.noise_std, dtype=torch.float64)
    shift_y, scale_y = items.y.mean(0), items.y.std(0).clamp_min(noise)
    deceptron.y_shift.copy_(shift_y)
    deceptron.y_scale.copy_(scale_y)
    if recipe.normalise_x:
        deceptron.x_shift.copy_(items.x.mean(0))
        deceptron.x_scale.copy_(torch.tensor(problem.scale))
    if recipe.start == "random" or isinstance(deceptron.pair, DeceptronStack):
        return
    z = (items.x - deceptron.x_shift.double()) / deceptron.x_scale.double()
    w = (items.y - deceptron.y_shift.double()) / deceptron.y_scale.double()
    with torch.no_grad():
        _start_forward(deceptron, z, w)
        _start_inverse(deceptron, recipe, z, w)


def _linear(deceptron: Deceptron) -> DeceptronLayer | LearnedInverse:
    pair = deceptron.pair
    if isinstance(pair, ResidualDeceptron):
        return pair.skip
    if isinstance(pair, DeceptronLayer | LearnedInverse):
        return pair
    raise TypeError(f"{type(pair).__name__} has no single linear part to start")


def _start_forward(deceptron: Deceptron, z: Tensor, w: Tensor) -> None:
    """W = ridge fit of w on z, b = 0 (w is centred)."""
    layer = _linear(deceptron)
    if isinstance(layer, DeceptronLayer):
        layer.W.copy_(_ridge(z, w))
        layer.b.zero_()


def _start_inverse(deceptron: Deceptron, recipe: Recipe, z: Tensor, w: Tensor) -> None:
    """V = (W^T W + ridge I)^-1 W^T and c = 0, as published; or the regression of z on w."""
    layer = _linear(deceptron)
    if recipe.start == "regression":
        estimate = LinearEstimator.fit(Items(z, w, w))
        layer.V.copy_(estimate.matrix)
        layer.c.copy_(estimate.offset)
        return
    W = layer.W.double() if isinstance(layer, DeceptronLayer) else _ridge(z, w)
    V = torch.linalg.solve(W.T @ W + RIDGE * torch.eye(W.shape[1], dtype=W.dtype), W.T)
    layer.V.copy_(V)
    layer.c.zero_()


def _ridge(z: Tensor, w: Tensor) -> Tensor:
    """argmin_W ||w - z W^T||_F^2 + ridge ||W||_F^2 over all items: (m, n)."""
    gram = z.T @ z + RIDGE * torch.eye(z.shape[1], dtype=z.dtype)
    W: Tensor = torch.linalg.solve(gram, z.T @ w).T
    return W
