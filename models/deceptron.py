"""Deceptron: a forward map f and a learned local inverse g, trained to undo each other (arXiv 2511.21076).

One layer is f(x) = s(W x + b), g(y) = s~(V y + c), V and W^T untied. Layers stack (f first to last, g last to first),
or carry a nonlinear residual branch beside a linear layer. f may also be the physics itself, leaving only g to learn.
Normalisation lives inside: everything outside speaks physical units.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.activations import ACTIVATIONS, Activation, Map, identity
from models.chain import chain_jacobian
from models.convolutional import MOST_AXES, ConvolutionalDeceptron, GridMap
from models.jacobian import jacobian
from physics.problem import Derivatives


@dataclass(frozen=True)
class DeceptronConfig:
    """Everything that decides a Deceptron's parameters: shapes, where f comes from, and how f and g are built.

    Attributes:
        n, m: numbers of unknowns and of observed values.
        forward: ``surrogate`` learns f; ``physics`` uses the problem's own map and learns g alone.
        architecture: ``layer`` is the paper's single layer; ``stack`` chains layers through ``hidden`` widths;
            ``residual`` adds a ``hidden`` MLP branch to a linear layer; ``convolutional`` adds to a linear part one
            residual block of convolutions for each of the (equal) channel counts in ``hidden``.
        grid: shape of x and of y where the architecture is convolutional.
        periodic: whether fields on the grid go on at the other side of its edge; zero lies beyond it otherwise.
        reach: points that the linear part on a grid looks at each way; 0 makes it a dense matrix.
    """

    n: int
    m: int
    forward: Literal["surrogate", "physics"] = "surrogate"
    architecture: Literal["layer", "stack", "residual", "convolutional"] = "residual"
    hidden: tuple[int, ...] = ()
    activation: Literal["identity", "leaky_relu", "softplus", "tanh", "silu"] = "silu"
    grid: tuple[int, ...] = ()
    periodic: bool = False
    reach: int = 0

    def __post_init__(self) -> None:
        if self.n < 1 or self.m < 1 or any(width < 1 for width in self.hidden):
            raise ValueError(f"sizes must be positive: n = {self.n}, m = {self.m}, hidden = {self.hidden}")
        if self.forward == "physics" and self.architecture == "stack":
            raise ValueError("a stack shares its widths between f and g; with forward='physics' use layer or residual")
        if self.architecture == "convolutional":
            self._check_grid()

    def _check_grid(self) -> None:
        if not self.n == self.m == prod(self.grid) or not 1 <= len(self.grid) <= MOST_AXES:
            raise ValueError(f"a grid of 1 to {MOST_AXES} axes must hold n = {self.n} = m = {self.m}, not {self.grid}")
        if len(set(self.hidden)) != 1:
            raise ValueError(f"residual blocks need one channel count, and at least one block; hidden = {self.hidden}")
        if not 0 <= self.reach < min(self.grid):
            raise ValueError(f"reach = {self.reach} does not fit the grid {self.grid}")


class DeceptronLayer(nn.Module):
    """f(x) = s(W x + b), g(y) = s~(V y + c); W (m, n), V (n, m), untied."""

    def __init__(self, n: int, m: int, activation: str = "identity", mirror: str | None = None) -> None:
        super().__init__()
        self.W, self.b = nn.Parameter(torch.empty(m, n)), nn.Parameter(torch.zeros(m))
        self.V, self.c = nn.Parameter(torch.empty(n, m)), nn.Parameter(torch.zeros(n))
        nn.init.kaiming_uniform_(self.W, a=5**0.5)
        nn.init.kaiming_uniform_(self.V, a=5**0.5)
        self._s = ACTIVATIONS[activation][0]
        self._mirror = ACTIVATIONS[activation if mirror is None else mirror][1]

    def f(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, m)."""
        return self._s(nn.functional.linear(x, self.W, self.b))

    def g(self, y: Tensor) -> Tensor:
        """(B, m) -> (B, n)."""
        return self._mirror(nn.functional.linear(y, self.V, self.c))


class DeceptronStack(nn.Module):
    """Layers n -> hidden -> m. The last f and the first g are linear, so that neither range is cut."""

    def __init__(self, widths: Sequence[int], activation: str) -> None:
        super().__init__()
        last = len(widths) - 2
        self.layers = nn.ModuleList(
            DeceptronLayer(
                widths[i],
                widths[i + 1],
                activation if i < last else "identity",
                activation if i > 0 else "identity",
            )
            for i in range(last + 1)
        )

    def f(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, m)."""
        for layer in self.layers:
            x = layer.f(x)  # type: ignore[operator]
        return x

    def g(self, y: Tensor) -> Tensor:
        """(B, m) -> (B, n)."""
        for layer in reversed(self.layers):
            y = layer.g(y)  # type: ignore[operator]
        return y


class ResidualDeceptron(nn.Module):
    """f(x) = W x + b + F(x), g(y) = V y + c + G(y), F and G being MLPs that start at zero."""

    def __init__(self, n: int, m: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        self.skip = DeceptronLayer(n, m)
        self.forward_branch = mlp((n, *hidden, m), activation)
        self.inverse_branch = mlp((m, *reversed(hidden), n), activation)

    def f(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, m)."""
        out: Tensor = self.skip.f(x) + self.forward_branch(x)
        return out

    def g(self, y: Tensor) -> Tensor:
        """(B, m) -> (B, n)."""
        out: Tensor = self.skip.g(y) + self.inverse_branch(y)
        return out

    def jacobian_f(self, x: Tensor) -> Tensor:
        """W + J_F, (B, m, n)."""
        return self.skip.W + chain_jacobian(self.forward_branch, x)

    def jacobian_g(self, y: Tensor) -> Tensor:
        """V + J_G, (B, n, m)."""
        return self.skip.V + chain_jacobian(self.inverse_branch, y)


class LearnedInverse(nn.Module):
    """g(y) = s~(V y + c), or V y + c + G(y) when residual, for an f that is given and not learned."""

    def __init__(self, n: int, m: int, hidden: Sequence[int], activation: str, residual: bool) -> None:
        super().__init__()
        self.V, self.c = nn.Parameter(torch.empty(n, m)), nn.Parameter(torch.zeros(n))
        nn.init.kaiming_uniform_(self.V, a=5**0.5)
        self.inverse_branch = mlp((m, *hidden, n), activation) if hidden else None
        self._mirror = identity if residual else ACTIVATIONS[activation][1]
        self.residual = residual

    def g(self, y: Tensor) -> Tensor:
        """(B, m) -> (B, n)."""
        out = self._mirror(nn.functional.linear(y, self.V, self.c))
        return out if self.inverse_branch is None else out + self.inverse_branch(y)

    def jacobian_g(self, y: Tensor) -> Tensor | None:
        """V + J_G, (B, n, m); None where the linear part has an activation."""
        if not self.residual:
            return None
        if self.inverse_branch is None:
            return self.V.expand(y.shape[0], -1, -1)
        return self.V + chain_jacobian(self.inverse_branch, y)


def mlp(widths: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers with the activation between them; the last one starts at zero, so the branch starts silent."""
    parts: list[nn.Module] = []
    for i in range(len(widths) - 1):
        parts += [nn.Linear(widths[i], widths[i + 1]), Activation(activation)]
    last = parts[-2]
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(*parts[:-1])


class Deceptron(nn.Module):
    """f: x (B, n) -> y (B, m) and its learned local inverse g: y -> x, both in physical units.

    With z = (x - x_shift) / x_scale and w = (y - y_shift) / y_scale, the pair below works on (z, w).

    Args:
        config: shapes and architecture.
        physics: the problem's forward map; required when ``config.forward`` is ``physics``.
    """

    engine: ClassVar[str] = "torch"
    steps: ClassVar[Mapping[str, Callable[..., Sequence[Tensor]]]] = {}  # the loop takes them map by map
    inspection: ClassVar[Callable[..., Sequence[Tensor]] | None] = None
    x_shift: Tensor
    x_scale: Tensor
    y_shift: Tensor
    y_scale: Tensor

    def __init__(self, config: DeceptronConfig, physics: Map | None = None) -> None:
        super().__init__()
        if config.forward == "physics" and physics is None:
            raise ValueError("forward='physics' needs the problem's forward map")
        self.config = config
        # In a tuple, so that a map which is a module stays the problem's own: not stored, moved or trained with this.
        self._physics = (physics,) if physics is not None and config.forward == "physics" else ()
        self.pair = _build_pair(config)
        for side, size in (("x", config.n), ("y", config.m)):
            self.register_buffer(f"{side}_shift", torch.zeros(size))
            self.register_buffer(f"{side}_scale", torch.ones(size))

    def f(self, x: Tensor) -> Tensor:
        """The forward map: the physics, or its learned surrogate. (B, n) -> (B, m)."""
        if self._physics:
            return self._physics[0](x)
        out: Tensor = self.y_shift + self.y_scale * self.pair.f((x - self.x_shift) / self.x_scale)  # type: ignore[operator]
        return out

    @property
    def derivatives(self) -> Derivatives | None:
        """f's derivatives in closed form, where f is a physics that has them."""
        physics = self._physics[0] if self._physics else None
        return physics if isinstance(physics, Derivatives) else None

    def g(self, y: Tensor) -> Tensor:
        """The learned local inverse. (B, m) -> (B, n)."""
        out: Tensor = self.x_shift + self.x_scale * self.pair.g((y - self.y_shift) / self.y_scale)  # type: ignore[operator]
        return out

    def jacobian_f(self, x: Tensor) -> Tensor:
        """J_f(x), (B, m, n): in closed form where there is one."""
        if self.derivatives is not None:
            return self.derivatives.jacobian(x)
        known = not self._physics and isinstance(self.pair, ResidualDeceptron)
        inner = self.pair.jacobian_f((x - self.x_shift) / self.x_scale) if known else None  # type: ignore[operator]
        return jacobian(self.f, x, self.config.m) if inner is None else inner * self.y_scale[:, None] / self.x_scale

    def jacobian_g(self, y: Tensor) -> Tensor:
        """J_g(y), (B, n, m): in closed form where there is one."""
        known = isinstance(self.pair, ResidualDeceptron | LearnedInverse)
        inner = self.pair.jacobian_g((y - self.y_shift) / self.y_scale) if known else None  # type: ignore[operator]
        return jacobian(self.g, y, self.config.n) if inner is None else inner * self.x_scale[:, None] / self.y_scale

    @property
    def linear(self) -> bool:
        """Whether g, and f where it is learned, is surely affine: one Jacobian then serves all inputs."""
        single = self.config.architecture == "layer" or not self.config.hidden
        affine = self.config.architecture == "residual" or self.config.activation == "identity"
        return single and affine

    @property
    def closed_jacobians(self) -> bool:
        """Whether the Jacobians of f and g are both known in closed form."""
        layered = isinstance(self.pair, ResidualDeceptron)
        of_f = self.derivatives is not None if self._physics else layered
        return of_f and (layered or (isinstance(self.pair, LearnedInverse) and self.pair.residual))

    @property
    def affine(self) -> bool:
        """Whether both f and g surely are: f is learned, and linear like g."""
        return not self._physics and self.linear

    def layers(self) -> list[DeceptronLayer]:
        """The (W, b, V, c) layers, for starts and penalties; empty where f is the physics."""
        return [module for module in self.pair.modules() if isinstance(module, DeceptronLayer)]

    def parameters_of(self, side: Literal["f", "g"]) -> list[nn.Parameter]:
        """The parameters that only f, or only g, depends on."""
        mine = ("W", "b") if side == "f" else ("V", "c")
        branch = "forward_branch" if side == "f" else "inverse_branch"
        return [p for name, p in self.pair.named_parameters() if name.split(".")[-1] in mine or branch in name]


def _build_pair(config: DeceptronConfig) -> nn.Module:
    if config.architecture == "convolutional":
        learned = config.forward == "surrogate"
        return ConvolutionalDeceptron(_grid_map(config) if learned else None, _grid_map(config))
    if config.forward == "physics":
        residual = config.architecture == "residual"
        return LearnedInverse(config.n, config.m, config.hidden if residual else (), config.activation, residual)
    if config.architecture == "layer":
        return DeceptronLayer(config.n, config.m, config.activation)
    if config.architecture == "stack":
        return DeceptronStack((config.n, *config.hidden, config.m), config.activation)
    return ResidualDeceptron(config.n, config.m, config.hidden, config.activation)


def _grid_map(config: DeceptronConfig) -> GridMap:
    return GridMap(config.grid, config.hidden, config.activation, config.reach, config.periodic)
