"""The laws of a projection, asserted of every kind of constraint and of their intersections."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from physics.constraints import (
    BallCut,
    BoundedSimplex,
    Bounds,
    Box,
    Constraint,
    Fixed,
    Intersection,
    L2Ball,
    Nonnegative,
    Simplex,
    Unconstrained,
    check_feasible,
    intersect,
)

N = 5


def sets_around(inside: np.ndarray, random: np.random.Generator) -> dict[str, Constraint]:
    """One constraint of each elementary kind; all of them contain the (nonnegative) point `inside`."""
    center = inside + random.normal(size=N)
    index = int(random.integers(N))
    return {
        "box": Box(inside - random.exponential(size=N), inside + random.exponential(size=N)),
        "fixed": Fixed([index], [inside[index]]),
        "nonnegative": Nonnegative(),
        "ball": L2Ball(float(np.linalg.norm(inside - center)) * random.uniform(1.0, 1.5), center),
        "simplex": Simplex(float(inside.sum())),
        "other ball": L2Ball(float(np.linalg.norm(inside)) * 1.1),
        "free": Unconstrained(),
    }


KINDS: dict[str, tuple[str, ...]] = {
    "unconstrained": ("free",),
    "box": ("box",),
    "fixed": ("fixed",),
    "nonnegative": ("nonnegative",),
    "ball": ("ball",),
    "simplex": ("simplex",),
    "bounds": ("box", "fixed", "nonnegative"),
    "box and ball": ("box", "ball"),
    "simplex and box": ("simplex", "box"),
    "simplex and fixed": ("simplex", "fixed"),
    "simplex and ball": ("simplex", "ball"),
    "simplex, ball and box": ("simplex", "ball", "box"),
    "two balls and bounds": ("ball", "other ball", "nonnegative"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
seeds = st.integers(0, 2**32 - 1)


def example(kind: str, seed: int) -> tuple[list[Constraint], np.ndarray, Tensor]:
    """The sets of that kind, a point inside all of them, and eight points (8, N) near and far."""
    random = np.random.default_rng(seed)
    inside = random.exponential(size=N) * (random.random(N) < 0.8) + 0.01
    sets = sets_around(inside, random)
    points = inside + random.normal(size=(8, N)) * 10 ** random.uniform(-2, 1, size=(8, 1))
    return [sets[name] for name in KINDS[kind]], inside, torch.from_numpy(points)


@every_kind
@settings(max_examples=40)
@given(seed=seeds)
def test_projection_laws(kind: str, seed: int) -> None:
    parts, inside, x = example(kind, seed)
    constraint = intersect(*parts)
    check_feasible(constraint, N)
    z = constraint.project(x)
    assert constraint.contains(z).all()
    torch.testing.assert_close(constraint.project(z), z, rtol=0, atol=1e-7)
    # Non-expansive: projecting never moves two points apart.
    shift, apart = (z[:, None] - z).norm(dim=-1), (x[:, None] - x).norm(dim=-1)
    assert (shift <= apart + 1e-7).all()
    # Closest: x - P(x) makes no acute angle with the way to any other point of the set.
    others = torch.cat([z, torch.from_numpy(inside)[None]])
    angle = torch.einsum("bn,bkn->bk", x - z, others - z[:, None])
    assert (angle <= 1e-6 * (1 + (x - z).norm(dim=-1, keepdim=True))).all()


def closest_by_slsqp(parts: list[Constraint], x: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, bool]:
    """The closest point according to a general-purpose solver that knows none of our formulas."""
    bounds = intersect(*(part for part in parts if not isinstance(part, L2Ball | Simplex | Unconstrained)))
    lower, upper = (b.expand(N).numpy() for b in bounds.bounds(torch.zeros(N, dtype=torch.float64)))  # type: ignore[attr-defined]
    rules = []
    for part in parts:
        if isinstance(part, L2Ball):
            rules.append({"type": "ineq", "fun": lambda z, b=part: b.radius**2 - np.sum((z - np.array(b.center)) ** 2)})
        if isinstance(part, Simplex):
            lower = np.maximum(lower, 0.0)
            rules.append({"type": "eq", "fun": lambda z, s=part: z.sum() - s.total})
    found = minimize(
        lambda z: 0.5 * np.sum((z - x) ** 2),
        start,
        jac=lambda z: z - x,
        bounds=list(zip(lower, upper, strict=True)),
        constraints=rules,
        method="SLSQP",
        options={"ftol": 1e-11, "maxiter": 300},
    )
    return found.x, bool(found.success)


@every_kind
def test_closest_point_agrees_with_a_general_solver(kind: str) -> None:
    solved = 0
    for seed in range(12):
        parts, inside, x = example(kind, seed)
        for row in x[:3]:
            ours = intersect(*parts).project(row[None])[0].numpy()
            theirs, success = closest_by_slsqp(parts, row.numpy(), inside)
            if not success:
                continue
            solved += 1
            scale = 1 + float(np.linalg.norm(row))
            gap = np.linalg.norm(ours - row.numpy()) - np.linalg.norm(theirs - row.numpy())
            assert abs(gap) <= 2e-6 * scale
            np.testing.assert_allclose(ours, theirs, atol=2e-3 * scale)
    assert solved >= 30, "the general solver must have judged nearly all of the 36 cases"


@every_kind
@settings(max_examples=6)
@given(seed=seeds)
def test_a_row_never_depends_on_its_batch(kind: str, seed: int) -> None:
    parts, _, x = example(kind, seed)
    x[3] = torch.nan
    for constraint in (intersect(*parts), Intersection(tuple(parts), max_rounds=200)):
        together = constraint.project(x)
        alone = torch.cat([constraint.project(row[None]) for row in x])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-12, equal_nan=True)
        assert together.isfinite().all(-1).tolist() == [row != 3 for row in range(8)]


@pytest.mark.parametrize("kind", [kind for kind, names in KINDS.items() if len(names) > 1])
@settings(max_examples=15)
@given(seed=seeds)
def test_dykstra_finds_what_the_closed_forms_find(kind: str, seed: int) -> None:
    parts, _, x = example(kind, seed)
    by_rounds = Intersection(tuple(parts), max_rounds=20_000).project(x[:2])
    torch.testing.assert_close(by_rounds, intersect(*parts).project(x[:2]), rtol=0, atol=1e-4)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept_and_the_result_is_contained(kind: str, dtype: torch.dtype) -> None:
    for seed in range(20):
        parts, _, x = example(kind, seed)
        constraint = intersect(*parts)
        z = constraint.project(x.to(dtype))
        assert z.dtype == dtype
        assert constraint.contains(z, 1e-5 if dtype == torch.float32 else 1e-9).all()
        torch.testing.assert_close(z.double(), constraint.project(x), rtol=1e-5, atol=1e-5)


@every_kind
def test_gradient_exists_and_is_finite(kind: str) -> None:
    parts, inside, x = example(kind, 3)
    x[0] = torch.from_numpy(inside)
    x.requires_grad_()
    intersect(*parts).project(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_ball_has_a_gradient_at_its_center() -> None:
    x = torch.zeros(1, 3, requires_grad=True)
    L2Ball(1.0).project(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 1.0, 1.0]]


def test_constants_born_in_inference_mode_still_serve_gradients() -> None:
    box = Box([-1.0, -1.0, -2.5], 1.0)
    with torch.inference_mode():
        box.project(torch.zeros(1, 3))
    x = torch.zeros(1, 3, requires_grad=True)
    box.project(x * 2).sum().backward()
    assert x.grad is not None


def test_bounds_merge_into_one_exact_clamp() -> None:
    merged = intersect(Box(-3, 3), Nonnegative(), Fixed([0, 2], [0, 1]), Unconstrained())
    assert isinstance(merged, Bounds)
    x = torch.tensor([[5.0, -5.0, 5.0, 7.0, 0.5]])
    assert merged.project(x).tolist() == [[0.0, 0.0, 1.0, 3.0, 0.5]]
    assert merged.active(merged.project(x)).tolist() == [4]


def test_intersect_prefers_closed_forms() -> None:
    assert intersect() == intersect(Unconstrained()) == Unconstrained()
    assert intersect(Box(0, 1), Box(0, 1)) == Box(0, 1)
    assert isinstance(intersect(Simplex(), Box(0, 1)), BoundedSimplex)
    assert isinstance(intersect(intersect(Simplex(), Box(0, 1)), L2Ball(1)), BallCut)
    assert isinstance(intersect(L2Ball(1), L2Ball(2)), Intersection)


def test_constraints_are_values() -> None:
    left = intersect(Box([0, 0], 1), L2Ball(2, [0.5, 0.5]))
    right = intersect(Box(torch.zeros(2), 1.0), L2Ball(2.0, np.array([0.5, 0.5])))
    assert left == right
    assert hash(left) == hash(right)


def test_active_counts_bounds_and_the_ball_once() -> None:
    constraint = intersect(Nonnegative(), L2Ball(1.0))
    x = torch.tensor([[0.0, 0.0, 2.0], [0.1, 0.2, 0.3], [-1.0, 0.2, 0.3]])
    assert constraint.active(constraint.project(x)).tolist() == [3, 0, 1]


def test_sets_that_only_touch() -> None:
    corner = intersect(Box(1, 2), L2Ball(2.0))
    check_feasible(corner, 4)
    torch.testing.assert_close(corner.project(torch.full((1, 4), 7.0)), torch.ones(1, 4))
    full = intersect(Simplex(4.0), Box(0, 1))
    check_feasible(full, 4)
    torch.testing.assert_close(full.project(torch.tensor([[9.0, -9.0, 0.0, 1.0]])), torch.ones(1, 4))
