"""The damped oscillator against SciPy's integrator, against complex arithmetic, and at the edge w^2 = 0."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch import Generator, Tensor

from models.jacobian import jacobian
from physics.oscillator import DURATION_S, LOWER, PROBLEM, SAMPLES, UPPER, displacement, identifiable

TIMES = np.linspace(0.0, DURATION_S, SAMPLES)

CRITICAL = (0.5, 1.0, 0.5, 1.0, -2.0)  # c^2 = 4 m k: the one corner of the range where w^2 = 0
NEARLY_CRITICAL = [(0.5, 1.0 + shift, 0.5, 1.0, -2.0) for shift in (-1e-3, -1e-6, -1e-9, 1e-9, 1e-6, 1e-3)]
OVERDAMPED = [(0.5, 3.0, 0.5, 1.0, -2.0), (2.0, 6.0, 1.0, -1.0, 2.0)]  # beyond the range, where bounds may reach
CORNERS = [
    (*corner[:3], 1.5, -0.5) for corner in [np.where([*bits, 0, 0], UPPER, LOWER) for bits in np.ndindex(2, 2, 2)]
]


def integrated(parameters: tuple[float, ...] | np.ndarray) -> np.ndarray:
    m, c, k, x0, v0 = parameters
    found = solve_ivp(
        lambda _, u: (u[1], -(c * u[1] + k * u[0]) / m),
        (0.0, DURATION_S),
        (x0, v0),
        method="DOP853",
        t_eval=TIMES,
        rtol=1e-12,
        atol=1e-13,
    )
    return np.asarray(found.y[0])


def by_complex_roots(parameters: np.ndarray) -> np.ndarray:
    """The textbook formula with w = sqrt(w^2) complex; (B, 5) with w^2 != 0."""
    m, c, k, x0, v0 = (column[:, None] for column in parameters.T)
    a = c / (2 * m)
    w = np.sqrt((k / m - a * a).astype(complex))
    waves = x0 * np.cos(w * TIMES) + (v0 + a * x0) * np.sin(w * TIMES) / w
    return np.asarray((np.exp(-a * TIMES) * waves).real)


def rows(*parameters: tuple[float, ...]) -> Tensor:
    return torch.tensor(parameters, dtype=torch.float64)


@pytest.mark.parametrize("parameters", [*CORNERS, CRITICAL, *NEARLY_CRITICAL, *OVERDAMPED], ids=str)
def test_against_the_integrator(parameters: tuple[float, ...]) -> None:
    np.testing.assert_allclose(displacement(rows(parameters))[0].numpy(), integrated(parameters), rtol=0, atol=2e-10)


def test_against_the_integrator_over_the_prior() -> None:
    x = PROBLEM.sample(40, Generator().manual_seed(0))
    expected = np.array([integrated(row) for row in x.numpy()])
    np.testing.assert_allclose(PROBLEM.forward(x).numpy(), expected, rtol=0, atol=2e-10)


@given(st.floats(-1e-2, 1e-2).filter(lambda w2: abs(w2) > 1e-18), st.floats(0.0, 1.0))
def test_no_seam_where_the_series_takes_over(w2: float, a: float) -> None:
    """The series, cos and cosh meet within rounding: t runs over 64 times, so some lie on each side of the switch."""
    parameters = np.array([[1.0, 2.0 * a, w2 + a * a, 1.0, -2.0]])
    expected = by_complex_roots(parameters)
    np.testing.assert_allclose(displacement(torch.from_numpy(parameters)).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("parameters", [CRITICAL, *NEARLY_CRITICAL, *OVERDAMPED, CORNERS[0], CORNERS[-1]], ids=str)
def test_gradients(parameters: tuple[float, ...]) -> None:
    x = rows(parameters).requires_grad_()
    assert torch.autograd.gradcheck(displacement, (x,), eps=1e-6, atol=2e-7, rtol=1e-5)


@pytest.mark.parametrize("parameters", [CRITICAL, *NEARLY_CRITICAL], ids=str)
def test_gradients_have_no_seam_either(parameters: tuple[float, ...]) -> None:
    """In w^2 the displacement is analytic: derivatives at, below and above the edge differ by the step between them."""
    jacobian = torch.func.jacfwd(lambda p: displacement(p[None])[0])
    at_edge, here = jacobian(torch.tensor(CRITICAL).double()), jacobian(torch.tensor(parameters).double())
    distance = abs(parameters[1] - CRITICAL[1])
    torch.testing.assert_close(here, at_edge, rtol=0, atol=20 * distance + 1e-10)


def test_float32_keeps_its_digits() -> None:
    x = torch.cat([PROBLEM.sample(500, Generator().manual_seed(0)), rows(CRITICAL, *NEARLY_CRITICAL)])
    y = displacement(x.float())
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), displacement(x.float().double()), rtol=0, atol=1e-5)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: displacement(row[None])[0]))
    expected = jacobian(x.float().double())
    torch.testing.assert_close(jacobian(x.float()).double(), expected, rtol=0, atol=1e-3)


def test_starts_where_it_is_told_to() -> None:
    x = PROBLEM.sample(50, Generator().manual_seed(0))
    assert torch.equal(displacement(x)[:, 0], x[:, 3])
    speed = torch.func.jvp(lambda v0: displacement(torch.cat([x[:, :4], v0], 1)), (x[:, 4:],), (x[:, 4:],))[1]
    assert (speed[:, 0] == 0).all(), "v0 says nothing about the position at t = 0"


@given(st.floats(0.05, 20.0))
def test_only_ratios_are_identifiable(factor: float) -> None:
    """(m, c, k) and any multiple of it move alike, and the identifiable quantities say the same of both."""
    x = PROBLEM.sample(8, Generator().manual_seed(0))
    scaled = torch.cat([factor * x[:, :3], x[:, 3:]], dim=1)
    torch.testing.assert_close(displacement(scaled), displacement(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(identifiable(scaled), identifiable(x), rtol=1e-12, atol=0)


def test_the_jacobian_lacks_exactly_one_direction() -> None:
    x = PROBLEM.sample(20, Generator().manual_seed(0))
    J = torch.func.vmap(torch.func.jacfwd(lambda row: displacement(row[None])[0]))(x)
    values = torch.linalg.svdvals(J)
    assert (values[:, -1] < 1e-12 * values[:, 0]).all()
    assert (values[:, -2] > 1e-4 * values[:, 0]).all()


def test_identifiable_quantities_and_their_names() -> None:
    assert PROBLEM.identifiable is not None
    assert PROBLEM.identifiable.names == ("c/m", "k/m", "x0", "v0")
    found = PROBLEM.identifiable.of(rows((2.0, 0.5, 3.0, -1.0, 0.25)))
    assert torch.equal(found, rows((0.25, 1.5, -1.0, 0.25)))


def test_samples_fill_the_ranges() -> None:
    x = PROBLEM.sample(4000, Generator().manual_seed(0))
    lower, upper = torch.tensor(LOWER).double(), torch.tensor(UPPER).double()
    assert ((x >= lower) & (x <= upper)).all()
    torch.testing.assert_close(x.amin(0), lower, rtol=0, atol=0.01)
    torch.testing.assert_close(x.amax(0), upper, rtol=0, atol=0.01)
    torch.testing.assert_close(x.mean(0), (lower + upper) / 2, rtol=0, atol=0.06)
    assert torch.equal(x, PROBLEM.sample(4000, Generator().manual_seed(0)))


def test_derivatives_hold_through_critical_damping() -> None:
    """Under-, over- and critically damped, and as near to critical as float64 tells apart."""
    m, k = 1.0, 4.0
    c = 2.0 * math.sqrt(m * k) * torch.tensor([0.3, 0.9, 1.0 - 1e-3, 1.0 - 1e-9, 1.0, 1.0 + 1e-9, 1.0 + 1e-3, 1.2, 2.0])
    x = torch.stack([torch.full_like(c, m), c, torch.full_like(c, k), 0.7 + 0 * c, -0.4 + 0 * c], 1).double()
    torch.testing.assert_close(displacement.jacobian(x), jacobian(displacement, x, 64), rtol=1e-9, atol=1e-9)
    single = displacement.jacobian(x.float()).double()
    torch.testing.assert_close(single, displacement.jacobian(x.float().double()), rtol=1e-3, atol=1e-5)
