"""The activations a Deceptron may be built with, each beside the one that g uses where f uses it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Map = Callable[[Tensor], Tensor]

LEAK = 0.1


def _leaky(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x, LEAK)


def _leaky_mirror(y: Tensor) -> Tensor:
    """The exact inverse of ``_leaky``."""
    return nn.functional.leaky_relu(y, 1.0 / LEAK)


def identity(x: Tensor) -> Tensor:
    """x itself."""
    return x


ACTIVATIONS: dict[str, tuple[Map, Map]] = {
    "identity": (identity, identity),
    "leaky_relu": (_leaky, _leaky_mirror),
    "softplus": (nn.functional.softplus, nn.functional.softplus),
    "tanh": (torch.tanh, torch.tanh),
    "silu": (nn.functional.silu, nn.functional.silu),
}
"""Name -> (s for f, s~ for g)."""


def _silu_slope(x: Tensor) -> Tensor:
    sigmoid = torch.sigmoid(x)
    return sigmoid * (1.0 + x * (1.0 - sigmoid))


SLOPES: dict[str, Map] = {
    "identity": torch.ones_like,
    "leaky_relu": lambda x: torch.where(x > 0, 1.0, LEAK),
    "softplus": torch.sigmoid,
    "tanh": lambda x: 1.0 - torch.tanh(x).square(),
    "silu": _silu_slope,
}
"""Name -> the derivative of s for f."""


class Activation(nn.Module):
    """f's activation of that name, as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._s = ACTIVATIONS[name][0]
        self.slope = SLOPES[name]

    def forward(self, x: Tensor) -> Tensor:
        """s(x)."""
        return self._s(x)
