"""Laws of the Deceptrons on a grid: flat outside, a convolution's symmetries inside, derivatives of every kind."""

from dataclasses import replace
from itertools import product
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.func import jacfwd, jacrev, jvp, vjp, vmap

from models.composition import Composition
from models.convolutional import GridMap
from models.deceptron import Deceptron, DeceptronConfig

GRIDS = [(7,), (4, 5), (3, 4, 2)]


def config(
    grid: tuple[int, ...],
    reach: int = 0,
    periodic: bool = False,
    forward: Literal["surrogate", "physics"] = "surrogate",
) -> DeceptronConfig:
    n = torch.Size(grid).numel()
    return DeceptronConfig(n, n, forward, "convolutional", (3, 3), grid=grid, reach=reach, periodic=periodic)


SIDES: tuple[Literal["surrogate", "physics"], ...] = ("surrogate", "physics")
CONFIGS = [config(*build) for build in product(GRIDS, (0, 1), (False, True), SIDES)]


def build(chosen: DeceptronConfig) -> Deceptron:
    """In float64, with no parameter at zero, so that nothing is silent."""
    torch.manual_seed(0)
    model = Deceptron(chosen, torch.sin).double()
    for parameter in model.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return model.requires_grad_(False)


def spelled(chosen: DeceptronConfig) -> str:
    shape = "x".join(map(str, chosen.grid))
    return f"{shape}-{chosen.reach}-{'periodic' if chosen.periodic else 'zero'}-{chosen.forward}"


@pytest.fixture(params=CONFIGS, ids=spelled)
def model(request: pytest.FixtureRequest) -> Deceptron:
    return build(request.param)


def points(model: Deceptron, count: int = 3) -> Tensor:
    return torch.randn(count, model.config.n, dtype=torch.float64)


def test_flat_outside_whatever_the_dtype(model: Deceptron) -> None:
    u = points(model)
    for dtype in (torch.float64, torch.float32):
        for map_ in (model.to(dtype).f, model.to(dtype).g):
            assert map_(u.to(dtype)).shape == u.shape
            assert map_(u.to(dtype)).dtype == dtype


def test_rows_do_not_know_each_other(model: Deceptron) -> None:
    u = points(model)
    for map_ in (model.f, model.g):
        torch.testing.assert_close(torch.cat([map_(row[None]) for row in u]), map_(u), rtol=1e-12, atol=1e-12)


def test_adjoints_match_derivatives(model: Deceptron) -> None:
    u = points(model)
    v, w = torch.randn_like(u), torch.randn_like(u)
    for map_ in (model.f, model.g):
        pushed, pulled = jvp(map_, (u,), (v,))[1], vjp(map_, u)[1](w)[0]
        torch.testing.assert_close((pushed * w).sum(1), (v * pulled).sum(1))


def test_whole_jacobians_agree_in_every_mode(model: Deceptron) -> None:
    u = points(model)

    def g(row: Tensor) -> Tensor:
        return model.g(row[None])[0]

    columns, rows = vmap(jacfwd(g))(u), vmap(jacrev(g))(u)
    torch.testing.assert_close(columns, rows)
    R = Composition(model.f, model.g, torch.ones(u.shape[1], dtype=torch.float64)).resolution(u)
    J_f = vmap(jacrev(lambda row: model.f(row[None])[0]))(u)
    J_g = vmap(jacrev(g))(model.f(u))
    torch.testing.assert_close(R, J_g @ J_f)


def test_parameters_belong_to_one_side_each(model: Deceptron) -> None:
    f_side, g_side = (set(map(id, model.parameters_of(side))) for side in ("f", "g"))
    assert not f_side & g_side
    assert f_side | g_side == {id(parameter) for parameter in model.parameters()}
    assert bool(f_side) == (model.config.forward == "surrogate")


def test_composition_error_trains_both_sides() -> None:
    """JCP differentiates through the derivative of f and of g."""
    model = build(config((4, 5))).requires_grad_(True)
    u = points(model)
    composition = Composition(model.f, model.g, torch.ones(u.shape[1], dtype=torch.float64))
    composition.error(u, torch.randn_like(u)).square().mean().backward()
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    assert weights
    assert all(p.grad is not None and (p.grad != 0).any() for p in weights)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("periodic", [False, True])
def test_starts_as_the_sum_over_its_windows(grid: tuple[int, ...], periodic: bool) -> None:
    """At birth the branch is silent, and a kernel fitted to the windows is exactly what the map computes."""
    map_ = GridMap(grid, (3,), "silu", 1, periodic).double()
    u = torch.randn(4, torch.Size(grid).numel(), dtype=torch.float64)
    weight, bias = map_.linear.parameters()
    torch.testing.assert_close(map_(u), map_.windows(u) @ weight.flatten() + bias)


@pytest.mark.parametrize("grid", GRIDS)
def test_periodic_maps_move_with_the_field(grid: tuple[int, ...]) -> None:
    model = build(config(grid, reach=1, periodic=True))
    field = torch.randn(2, *grid, dtype=torch.float64)
    axes = tuple(range(1, field.ndim))

    def moved(u: Tensor) -> Tensor:
        return u.roll([1] * len(axes), axes)

    expected = moved(model.g(field.flatten(1)).unflatten(1, grid))
    torch.testing.assert_close(model.g(moved(field).flatten(1)).unflatten(1, grid), expected)


def test_zero_lies_beyond_an_edge() -> None:
    """A field with a rim of zeros is the same field on a larger grid."""
    small, large = (build(config((n, n), reach=1)).pair.inverse_branch for n in (4, 6))
    assert isinstance(small, GridMap)
    assert isinstance(large, GridMap)
    large.load_state_dict(small.state_dict())
    field = torch.zeros(1, 4, 4, dtype=torch.float64)
    wide = torch.nn.functional.pad(field, (1, 1, 1, 1))
    field[0, 1, 2] = wide[0, 2, 3] = 1.0
    inner = large.linear(wide[:, None])[:, 0, 1:-1, 1:-1]
    torch.testing.assert_close(small.linear(field[:, None])[:, 0], inner)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": ()}, "a grid of 1 to 3 axes"),
        ({"grid": (5, 5)}, "must hold n = 20"),
        ({"m": 21}, "= m = 21"),
        ({"grid": (5, 2, 1, 2)}, "a grid of 1 to 3 axes"),
        ({"hidden": ()}, "at least one block"),
        ({"hidden": (3, 4)}, "one channel count"),
        ({"reach": 4}, "does not fit the grid"),
        ({"reach": -1}, "does not fit the grid"),
    ],
)
def test_impossible_grids_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(config((4, 5)), **change)  # type: ignore[arg-type]


def test_a_given_physics_leaves_no_forward_map() -> None:
    with pytest.raises(ValueError, match="is the physics"):
        build(config((4,), forward="physics")).pair.f(torch.zeros(1, 4))  # type: ignore[operator]
