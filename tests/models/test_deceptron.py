"""Laws that every architecture with every activation obeys."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from models.deceptron import ACTIVATIONS, Deceptron, DeceptronConfig, DeceptronStack
from models.jacobian import jacobian

BUILDS = [
    ("surrogate", "layer", ()),
    ("surrogate", "stack", (6,)),
    ("surrogate", "stack", (6, 8)),
    ("surrogate", "residual", ()),
    ("surrogate", "residual", (6, 8)),
    ("physics", "layer", ()),
    ("physics", "residual", ()),
    ("physics", "residual", (6, 8)),
]
GRID = [*product([(5, 7)], BUILDS, ACTIVATIONS), *product([(4, 4), (7, 3)], BUILDS, ["silu"])]
CONFIGS = [DeceptronConfig(n, m, *build, activation=activation) for (n, m), build, activation in GRID]  # type: ignore[arg-type]


def physics_of(config: DeceptronConfig) -> nn.Module:
    """A forward map with weights of its own, which are no business of the Deceptron's."""
    return nn.Sequential(nn.Linear(config.n, config.m), nn.Tanh()).double().requires_grad_(False)


def build(config: DeceptronConfig, awake: bool = True) -> Deceptron:
    """A Deceptron in float64; awake: no parameter is zero, so nothing is silent."""
    model = Deceptron(config, physics_of(config)).double()
    if awake:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def normalise(model: Deceptron) -> None:
    for name, buffer in model.named_buffers():
        buffer.copy_(torch.rand_like(buffer) + 0.5 if name.endswith("scale") else torch.randn_like(buffer))


def spelled(config: DeceptronConfig) -> str:
    return f"{config.n}-{config.m}-{config.forward}-{config.architecture}-{len(config.hidden)}-{config.activation}"


@pytest.fixture(params=CONFIGS, ids=spelled)
def model(request: pytest.FixtureRequest) -> Deceptron:
    torch.manual_seed(0)
    return build(request.param)


def points(model: Deceptron, count: int = 6) -> tuple[Tensor, Tensor]:
    shape = model.config
    return torch.randn(count, shape.n, dtype=torch.float64), torch.randn(count, shape.m, dtype=torch.float64)


def test_jacobians_are_those_of_autograd(model: Deceptron) -> None:
    normalise(model)
    x, y = points(model)
    torch.testing.assert_close(model.jacobian_f(x), jacobian(model.f, x, model.config.m))
    torch.testing.assert_close(model.jacobian_g(y), jacobian(model.g, y, model.config.n))


def test_shapes_and_dtypes(model: Deceptron) -> None:
    x, y = points(model)
    for dtype in (torch.float64, torch.float32):
        if model.config.forward == "surrogate":
            assert model.to(dtype).f(x.to(dtype)).shape == y.shape
            assert model.f(x.to(dtype)).dtype == dtype
        assert model.to(dtype).g(y.to(dtype)).shape == x.shape
        assert model.g(y.to(dtype)).dtype == dtype


def test_rows_do_not_know_each_other(model: Deceptron) -> None:
    for map_, batch in zip((model.f, model.g), points(model), strict=True):
        alone = torch.cat([map_(row[None]) for row in batch])
        torch.testing.assert_close(alone, map_(batch), rtol=1e-12, atol=1e-12)


def test_adjoints_match_derivatives(model: Deceptron) -> None:
    x, y = points(model)
    for map_, at, out in ((model.f, x, y), (model.g, y, x)):
        v, u = torch.randn_like(at), torch.randn_like(out)
        pushed, pulled = torch.func.jvp(map_, (at,), (v,))[1], torch.func.vjp(map_, at)[1](u)[0]
        torch.testing.assert_close((pushed * u).sum(1), (v * pulled).sum(1))


def test_outside_speaks_physical_units(model: Deceptron) -> None:
    """Normalisation wraps the pair: f = shift_y + scale_y f0((x - shift_x) / scale_x), g the other way round."""
    x, y = points(model)
    f0, g0 = (model.f, model.pair.g) if model.config.forward == "physics" else (model.pair.f, model.pair.g)
    normalise(model)
    z, w = (x - model.x_shift) / model.x_scale, (y - model.y_shift) / model.y_scale
    torch.testing.assert_close(model.g(y), model.x_shift + model.x_scale * g0(w))  # type: ignore[operator]
    expected = f0(x) if model.config.forward == "physics" else model.y_shift + model.y_scale * f0(z)  # type: ignore[operator]
    torch.testing.assert_close(model.f(x), expected)


def test_parameters_belong_to_one_side_each(model: Deceptron) -> None:
    f_side, g_side = (set(map(id, model.parameters_of(side))) for side in ("f", "g"))
    assert not f_side & g_side
    assert f_side | g_side == {id(parameter) for parameter in model.parameters()}
    assert bool(f_side) == (model.config.forward == "surrogate")


def test_the_physics_is_not_stored_with_the_model(model: Deceptron) -> None:
    """Its weights, where it has any, are the problem's: a checkpoint must neither keep nor overwrite them."""
    pair = {f"pair.{name}" for name in model.pair.state_dict()}
    assert set(model.state_dict()) == pair | {"x_shift", "x_scale", "y_shift", "y_scale"}


def test_each_side_depends_on_its_parameters_alone(model: Deceptron) -> None:
    x, y = points(model, 40)
    for side, map_, at in (("f", model.f, x), ("g", model.g, y)):
        if not model.parameters_of(side):  # type: ignore[arg-type]
            continue
        model.zero_grad()
        map_(at).square().sum().backward()
        mine = {id(parameter) for parameter in model.parameters_of(side)}  # type: ignore[arg-type]
        touched = {id(p) for p in model.parameters() if p.grad is not None and (p.grad != 0).any()}
        assert touched == mine


def test_only_the_papers_layer_has_its_range_cut(model: Deceptron) -> None:
    """g reaches any x and f any y, except in the single layer, whose activation comes last."""
    if model.config.architecture == "layer":
        return
    last = "c" if model.config.forward == "physics" else ("skip.c" if model.config.architecture == "residual" else None)
    name = last or "layers.0.c"
    _, y = points(model)
    before = model.g(y)
    with torch.no_grad():
        model.pair.get_parameter(name).sub_(100.0)
    torch.testing.assert_close(model.g(y), before - 100.0)


@pytest.mark.parametrize("config", [c for c in CONFIGS if c.architecture == "residual"], ids=spelled)
def test_residual_branches_start_silent(config: DeceptronConfig) -> None:
    """At birth a residual Deceptron is its linear layer, so a linear start is exactly what training starts from."""
    model = build(config, awake=False)
    _, y = points(model)
    linear = model.pair if config.forward == "physics" else model.pair.skip
    torch.testing.assert_close(model.g(y), y @ linear.V.T + linear.c)  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_papers_layer(activation: str) -> None:
    """f(x) = s(W x + b), g(y) = s~(V y + c), W and V untied."""
    model = build(DeceptronConfig(5, 7, architecture="layer", activation=activation))  # type: ignore[arg-type]
    x, y = points(model)
    s, mirror = ACTIVATIONS[activation]
    (layer,) = model.layers()
    torch.testing.assert_close(model.f(x), s(x @ layer.W.T + layer.b))
    torch.testing.assert_close(model.g(y), mirror(y @ layer.V.T + layer.c))
    assert layer.V.data_ptr() != layer.W.data_ptr()


@given(st.floats(-1e6, 1e6))
def test_leaky_relu_is_undone_by_its_mirror(value: float) -> None:
    s, mirror = ACTIVATIONS["leaky_relu"]
    x = torch.tensor([value], dtype=torch.float64)
    torch.testing.assert_close(mirror(s(x)), x, rtol=1e-14, atol=0)
    torch.testing.assert_close(s(mirror(x)), x, rtol=1e-14, atol=0)


@pytest.mark.parametrize("activation", ["identity", "leaky_relu"])
def test_a_stack_can_be_undone_exactly(activation: str) -> None:
    """With V = W^-1 and c = -V b, each layer's mirror undoes its activation: g(f(x)) = x."""
    model = build(DeceptronConfig(4, 4, architecture="stack", hidden=(4, 4), activation=activation))  # type: ignore[arg-type]
    with torch.no_grad():
        for layer in model.layers():
            layer.W.add_(2.0 * torch.eye(4))
            layer.V.copy_(torch.linalg.inv(layer.W))
    stack = model.pair
    assert isinstance(stack, DeceptronStack)
    for layer in model.layers():
        layer.c.data = -(layer.V @ layer.b).detach()
    x, _ = points(model)
    torch.testing.assert_close(model.g(model.f(x)), x)


def test_the_same_seed_builds_the_same_model() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        states.append(Deceptron(DeceptronConfig(4, 6, hidden=(8,))).state_dict())
    first, second = states
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n": 0, "m": 3}, "sizes must be positive"),
        ({"n": 3, "m": -1}, "sizes must be positive"),
        ({"n": 3, "m": 3, "hidden": (4, 0)}, "sizes must be positive"),
        ({"n": 3, "m": 3, "forward": "physics", "architecture": "stack"}, "use layer or residual"),
    ],
)
def test_impossible_configurations_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeceptronConfig(**config)  # type: ignore[arg-type]


def test_physics_must_be_given() -> None:
    with pytest.raises(ValueError, match="needs the problem's forward map"):
        Deceptron(replace(CONFIGS[0], forward="physics"))
