"""One observation that our physics code has no part in: SciPy integrates the oscillator, noise is added.

m x'' + c x' + k x = 0, x(0) = x0, x'(0) = v0, sampled 64 times on [0, 5], noise 0.01.
"""

from dataclasses import dataclass

import numpy as np

NAMES = ("m", "c", "k", "x0", "v0")
LOWER = np.array([0.5, 0.0, 0.5, -2.0, -2.0])
UPPER = np.array([2.0, 1.0, 5.0, 2.0, 2.0])
TIMES_S = np.linspace(0.0, 5.0, 64)
NOISE_STD = 0.01


@dataclass(frozen=True)
class Example:
    """A noisy observation (64,) and the parameters (5,) behind it."""

    observation: np.ndarray
    truth: np.ndarray


def displacement(parameters: np.ndarray) -> np.ndarray:
    """x(t) at TIMES_S, shape (64,), of the oscillator (m, c, k, x0, v0); by SciPy's integrator."""
    from scipy.integrate import solve_ivp

    m, c, k, x0, v0 = (float(p) for p in parameters)
    motion = solve_ivp(
        lambda _, state: (state[1], -(c * state[1] + k * state[0]) / m),
        (0.0, float(TIMES_S[-1])),
        (x0, v0),
        t_eval=TIMES_S,
        rtol=1e-9,
        atol=1e-11,
    )
    return np.asarray(motion.y[0])


def make_example(seed: int) -> Example:
    """Parameters drawn from their ranges and the noisy observation they cause."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(LOWER, UPPER)
    return Example(displacement(truth) + rng.normal(0.0, NOISE_STD, TIMES_S.size), truth)


def identifiable(parameters: np.ndarray) -> np.ndarray:
    """What the motion determines: (c/m, k/m, x0, v0), shape (4,)."""
    m, c, k, x0, v0 = parameters
    return np.array([c / m, k / m, x0, v0])
