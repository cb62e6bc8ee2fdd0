"""Jacobians of layers in a row by the chain rule: one matrix product a layer for a whole batch, and no autograd.

J = W_k diag(s'(h_{k-1})) W_{k-1} ... diag(s'(h_1)) W_1,    multiplied from the left
"""

from collections.abc import Iterable

from torch import Tensor, nn

from models.activations import Activation


def chain_jacobian(layers: Iterable[nn.Module], u: Tensor) -> Tensor:
    """J (B, out, in) at u (B, in) of linear layers with activations between them."""
    weights: list[Tensor] = []
    slopes: list[Tensor] = []
    for layer in layers:
        if isinstance(layer, nn.Linear):
            weights.append(layer.weight)
        elif isinstance(layer, Activation):
            slopes.append(layer.slope(u))
        else:
            raise TypeError(f"no closed form for a {type(layer).__name__}")
        u = layer(u)
    J = weights.pop().expand(u.shape[0], -1, -1)  # not len(): a trace would take that for a constant
    while weights:
        J = (J * slopes.pop()[:, None]) @ weights.pop()
    return J
