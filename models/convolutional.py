"""Deceptrons for fields on a grid: a linear part and a branch of residual convolutions. Values travel flat outside.

Either side is u -> L u + c + B(u). L is a dense matrix, or, where that would be too large or the field has no edge, one
wide convolution: diffusion spreads what it blurs over a few points only, and so does its inverse.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal, cast

import torch
from torch import Tensor, nn

from models.activations import Activation

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MOST_AXES = len(CONVOLUTIONS)


def convolution(axes: int, inputs: int, outputs: int, reach: int, periodic: bool) -> nn.Module:
    """A convolution over 2 reach + 1 points along each of 1 to 3 axes; beyond the edge lies zero, or the other side."""
    mode: Literal["circular", "zeros"] = "circular" if periodic else "zeros"
    return CONVOLUTIONS[axes - 1](inputs, outputs, 2 * reach + 1, padding=reach, padding_mode=mode)


class ResidualBlock(nn.Module):
    """u + C2(s(C1(s(u)))), C1 and C2 being convolutions over 3 points along each axis."""

    def __init__(self, axes: int, channels: int, activation: str, periodic: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Activation(activation),
            convolution(axes, channels, channels, 1, periodic),
            Activation(activation),
            convolution(axes, channels, channels, 1, periodic),
        )

    def forward(self, u: Tensor) -> Tensor:
        """(B, channels, *grid) -> the same."""
        out: Tensor = u + self.body(u)
        return out


class GridMap(nn.Module):
    """u -> L u + c + B(u) on flat fields (B, n); B starts at zero, so the map starts linear.

    B ends in a convolution as wide as L: what is bent at each point must still be carried to where it came from.

    Args:
        grid: shape of the field, n its product.
        channels: of each residual block; all the same.
        reach: points that L looks at each way; 0 makes it a dense matrix.
        periodic: whether the field goes on at the other side of its edge.
    """

    def __init__(
        self, grid: Sequence[int], channels: Sequence[int], activation: str, reach: int, periodic: bool
    ) -> None:
        super().__init__()
        self.grid, self.reach, self.periodic = tuple(grid), reach, periodic
        axes, n, width = len(grid), prod(grid), channels[0]
        self.linear = convolution(axes, 1, 1, reach, periodic) if reach else nn.Linear(n, n)
        blocks = [ResidualBlock(axes, each, activation, periodic) for each in channels]
        last = convolution(axes, width, 1, max(1, reach), periodic)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.branch = nn.Sequential(convolution(axes, 1, width, 1, periodic), *blocks, Activation(activation), last)

    def forward(self, u: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""
        field = u.unflatten(1, (1, *self.grid))
        linear = self.linear(field).flatten(1) if self.reach else self.linear(u)
        return cast(Tensor, linear + self.branch(field).flatten(1))

    def windows(self, u: Tensor) -> Tensor:
        """What the convolution L sees at each point, in the order of its weights: (B, n) -> (B, n, weights)."""
        field: Tensor = u.unflatten(1, self.grid)
        for axis, size in enumerate(self.grid, start=1):
            before, after = (field.narrow(axis, start, self.reach) for start in (size - self.reach, 0))
            if not self.periodic:
                before, after = torch.zeros_like(before), torch.zeros_like(after)
            field = torch.cat([before, field, after], axis).unfold(axis, 2 * self.reach + 1, 1)
        return field.flatten(1 + len(self.grid)).flatten(1, -2)


class ConvolutionalDeceptron(nn.Module):
    """f and g as two maps on the same grid; f is left out where the physics takes its place."""

    def __init__(self, forward_branch: GridMap | None, inverse_branch: GridMap) -> None:
        super().__init__()
        self.forward_branch, self.inverse_branch = forward_branch, inverse_branch

    def f(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""
        if self.forward_branch is None:
            raise ValueError("this Deceptron's forward map is the physics")
        return cast(Tensor, self.forward_branch(x))

    def g(self, y: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""
        return cast(Tensor, self.inverse_branch(y))
