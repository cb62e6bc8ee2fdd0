"""Drift: silent on what the model was calibrated on, loud on what it was not, and steady in between."""

import numpy as np
import pytest

from trust.drift import Assessment, Drift, State, Test, Thresholds, assess, p_values_test, rjcp_test

LIMITS = Thresholds()
N = 2000


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def heavy_tailed(rng: np.random.Generator, count: int) -> np.ndarray:
    return 0.2 + np.exp(rng.normal(-2.0, 1.5, count))


def constant(rng: np.random.Generator, count: int) -> np.ndarray:
    """What a linear g gives."""
    return np.full(count, 6.139645e-4)


def rounded(rng: np.random.Generator, count: int) -> np.ndarray:
    """A constant, as float32 arithmetic gives it: a few neighbouring values."""
    return 0.9320866 + 6e-8 * rng.integers(-3, 4, count)


KINDS = [heavy_tailed, constant, rounded]


@pytest.mark.parametrize("kind", KINDS)
def test_in_range_traffic_raises_no_alarm(kind, rng: np.random.Generator) -> None:  # type: ignore[no-untyped-def]
    calibration = np.sort(kind(rng, N))
    windows = [(kind(rng, count), rng.uniform(size=count)) for count in (50, 199, 200, 1000) for _ in range(40)]
    levels = [assess(rjcp, p_values, calibration, LIMITS).level() for rjcp, p_values in windows]
    assert set(levels) == {State.OK}


def test_a_sliding_window_that_is_looked_at_all_the_time_stays_silent(rng: np.random.Generator) -> None:
    calibration, sums = np.sort(heavy_tailed(rng, N)), np.sort(rng.chisquare(10, N))
    rjcp, found = heavy_tailed(rng, 8000), rng.chisquare(10, 8000)
    p_values = (1 + N - np.searchsorted(sums, found)) / (N + 1)  # ranked among a finite set, as the service's are
    looks = [slice(max(0, end - 1000), end) for end in range(50, 8001, 50)]
    assert {assess(rjcp[look], p_values[look], calibration, LIMITS).level() for look in looks} == {State.OK}


def test_another_machines_rounding_is_no_drift(rng: np.random.Generator) -> None:
    calibration = rounded(rng, N)
    assert rjcp_test(rounded(rng, 1000) * (1 + 3e-7), calibration) == Test(0.0, 1.0)
    assert rjcp_test(constant(rng, 1000) * (1 + 1e-4), constant(rng, N)).p_value == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_another_rjcp_is_drift(kind, rng: np.random.Generator) -> None:  # type: ignore[no-untyped-def]
    found = assess(kind(rng, 400) * 1.5, rng.uniform(size=400), kind(rng, N), LIMITS)
    assert found.drift is not None
    assert found.drift.rjcp.statistic > 0.3
    assert found.level() is State.WARNING  # strange, but each answer is in range: nobody is woken


def test_strange_observations_are_seen_where_rjcp_is_constant(rng: np.random.Generator) -> None:
    found = assess(constant(rng, 400), rng.uniform(0.0, 0.5, 400), constant(rng, N), LIMITS)
    assert found.drift is not None
    assert found.drift.worst == found.drift.p_values
    assert found.drift.p_values.statistic == pytest.approx(0.5, abs=0.03)
    assert found.level() is State.WARNING


def test_unusually_good_answers_are_no_drift(rng: np.random.Generator) -> None:
    assert p_values_test(rng.uniform(0.6, 1.0, 400), N).p_value > 0.5


@pytest.mark.parametrize(
    ("out_of_range", "state"), [(0.02, State.OK), (0.10, State.WARNING), (0.25, State.CRITICAL), (1.0, State.CRITICAL)]
)
def test_share_out_of_range(out_of_range: float, state: State, rng: np.random.Generator) -> None:
    p_values = np.linspace(0.02, 1.0, 1000)
    p_values[: int(out_of_range * 1000)] = 0.001
    assert assess(constant(rng, 1000), p_values, constant(rng, N), LIMITS).level() is state


def test_two_warnings_are_critical(rng: np.random.Generator) -> None:
    strange, drifted = Test(0.0, 1.0), Test(0.4, 1e-12)
    assert Assessment(1000, 0.1, Drift(strange, strange), LIMITS).level() is State.WARNING
    assert Assessment(1000, 0.0, Drift(drifted, strange), LIMITS).level() is State.WARNING
    assert Assessment(1000, 0.1, Drift(drifted, strange), LIMITS).level() is State.CRITICAL


def test_too_little_to_tell(rng: np.random.Generator) -> None:
    calibration = heavy_tailed(rng, N)
    empty = assess(np.empty(0), np.empty(0), calibration, LIMITS)
    assert (empty.level(), empty.drift, empty.out_of_range) == (State.NO_DATA, None, 0.0)
    few = assess(heavy_tailed(rng, 49), np.zeros(49), calibration, LIMITS)
    assert few.level() is State.NO_DATA
    assert assess(heavy_tailed(rng, 199), np.ones(199), calibration, LIMITS).drift is None
    # A handful out of range among few is chance, not a tenth of the traffic.
    p_values = np.ones(50)
    p_values[:4] = 0.0
    assert assess(heavy_tailed(rng, 50), p_values, calibration, LIMITS).level() is State.OK


def test_answers_without_a_finite_rjcp_are_the_strangest(rng: np.random.Generator) -> None:
    calibration, rjcp = heavy_tailed(rng, N), heavy_tailed(rng, 400)
    rjcp[:200] = np.nan
    rjcp[200:300] = np.inf
    assert rjcp_test(rjcp, calibration).statistic > 0.7


def share(value: float) -> Assessment:
    return Assessment(1000, value, None, LIMITS)


def test_states_have_inertia_on_their_way_down() -> None:
    path = [0.01, 0.19, 0.21, 0.19, 0.17, 0.15, 0.17, 0.045, 0.03, 0.045, 0.06]
    expected = ["ok", "warning", "critical", "critical", "critical", "warning", "warning", "warning", "ok", "ok"]
    state, seen = State.OK, []
    for value in path:
        state = share(value).state(state)
        seen.append(str(state))
    assert seen == [*expected, "warning"]


@pytest.mark.parametrize("before", list(State))
def test_silence_ends_every_state(before: State) -> None:
    assert Assessment(0, 0.0, None, LIMITS).state(before) is State.NO_DATA
    assert share(0.5).state(before) is State.CRITICAL
