"""Where training begins: normalisation from the training items, and linear fits for the linear parts."""

import torch
from torch import Tensor

from models.convolutional import ConvolutionalDeceptron, GridMap
from models.deceptron import Deceptron, DeceptronLayer, DeceptronStack, LearnedInverse, ResidualDeceptron
from physics.problem import Problem
from training.data import Items, LinearEstimator
from training.recipes import Recipe

RIDGE = 1e-4
KERNEL_FIT_VALUES = 500_000  # points that a kernel is fitted to: far more than its weights need


def prepare(deceptron: Deceptron, problem: Problem, recipe: Recipe, items: Items) -> None:
    """Sets normalisation and the linear start, in place."""
    noise = torch.tensor(problem.noise_std, dtype=torch.float64)
    # Convolutions treat all points of a grid alike, and so must the units they work in.
    over = (0, 1) if isinstance(deceptron.pair, ConvolutionalDeceptron) else 0
    deceptron.y_shift.copy_(items.y.mean(over))
    deceptron.y_scale.copy_(items.y.std(over).clamp_min(noise))
    if recipe.normalise_x:
        deceptron.x_shift.copy_(items.x.mean(over))
        deceptron.x_scale.copy_(torch.tensor(problem.scale))
    if recipe.start == "random" or isinstance(deceptron.pair, DeceptronStack):
        return
    z = (items.x - deceptron.x_shift.double()) / deceptron.x_scale.double()
    y = items.clean + recipe.start_noise * (items.y - items.clean)
    w = (y - deceptron.y_shift.double()) / deceptron.y_scale.double()
    with torch.no_grad():
        if isinstance(deceptron.pair, ConvolutionalDeceptron):
            _start_on_grid(deceptron.pair, z, w)
            return
        _start_forward(deceptron, z, w)
        _start_inverse(deceptron, recipe, z, w)


def _linear(deceptron: Deceptron) -> DeceptronLayer | LearnedInverse:
    pair = deceptron.pair
    if isinstance(pair, ResidualDeceptron):
        return pair.skip
    if isinstance(pair, DeceptronLayer | LearnedInverse):
        return pair
    raise TypeError(f"{type(pair).__name__} has no single linear part to start")


def _start_on_grid(pair: ConvolutionalDeceptron, z: Tensor, w: Tensor) -> None:
    """The regression of either side on the other, over all it may look at: a matrix or a kernel."""
    if pair.forward_branch is not None:
        _start_linear(pair.forward_branch, z, w)
    _start_linear(pair.inverse_branch, w, z)


def _start_linear(side: GridMap, source: Tensor, target: Tensor) -> None:
    if not side.reach:
        estimate = LinearEstimator.fit(Items(target, source, source))
    else:
        rows = slice(0, KERNEL_FIT_VALUES // source.shape[1])
        seen, wanted = side.windows(source[rows]).flatten(0, 1), target[rows].reshape(-1, 1)
        estimate = LinearEstimator.fit(Items(wanted, seen, seen))
    weight, bias = side.linear.parameters()
    weight.copy_(estimate.matrix.reshape(weight.shape))
    bias.copy_(estimate.offset)


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
