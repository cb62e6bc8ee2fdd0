"""What ``deceptron bench product`` is expected to show, problem by problem."""

from collections.abc import Callable, Sequence

from benchmarks.followup import cheaper_goal
from benchmarks.goals import Goal, at_least, at_most
from benchmarks.prices import Prices
from benchmarks.product_tables import LM_STARTS, Repeat, iterations, per_repeat

DIPG, AUTO = "dipg", "auto"


def product_goals(name: str, repeats: Sequence[Repeat], prices: Prices) -> list[Goal]:
    """The goals of a model; one value a repeat."""
    of: dict[str, Callable[[Sequence[Repeat], Prices], list[Goal]]] = {
        "heat1d": _heat1d,
        "oscillator": _oscillator,
        "heat1d_nonlinear": _heat1d_nonlinear,
        "heat3d": lambda repeats, prices: _large("heat3d", repeats, prices),
        "allen_cahn2d": lambda repeats, prices: _large("allen_cahn2d", repeats, prices),
    }
    return of[name](repeats, prices)


def _heat1d(repeats: Sequence[Repeat], prices: Prices) -> list[Goal]:
    return [at_most("heat1d: D-IPG's x-RMSE over linear MMSE's", 1.01, _over_linear(repeats))]


def _oscillator(repeats: Sequence[Repeat], prices: Prices) -> list[Goal]:
    alone, several = _reached(repeats, DIPG), _reached(repeats, LM_STARTS)
    both = list(zip(alone, several, strict=True))
    several_us, alone_us = (repeats[0].measured[method].microseconds for method in (LM_STARTS, DIPG))
    costs = [several_us[batch] / microseconds for batch, microseconds in alone_us.items()]
    return [
        at_least("oscillator: D-IPG alone at the noise level", 0.99, alone),
        at_most("oscillator: D-IPG's median number of iterations", 2, [_median_iterations(repeats)]),
        at_least("oscillator: auto at the noise level", 0.999, _reached(repeats, AUTO)),
        Goal(
            f"oscillator: D-IPG at the noise level as often as `{LM_STARTS}`",
            "in every repeat",
            ", ".join(f"{a:.3f} against {b:.3f}" for a, b in both),
            all(a >= b for a, b in both),
        ),
        at_least(f"oscillator: cost of `{LM_STARTS}` over D-IPG's, batches {', '.join(map(str, alone_us))}", 5, costs),
    ]


def _heat1d_nonlinear(repeats: Sequence[Repeat], prices: Prices) -> list[Goal]:
    return [
        at_least("heat1d_nonlinear: D-IPG alone at the noise level", 0.99, _reached(repeats, DIPG)),
        at_most("heat1d_nonlinear: D-IPG's x-RMSE over linear MMSE's", 1.0, _over_linear(repeats)),
    ]


def _large(name: str, repeats: Sequence[Repeat], prices: Prices) -> list[Goal]:
    reached = _reached(repeats, DIPG)
    shown = ", ".join(f"{share:.3f}" for share in reached)
    return [
        Goal(f"{name}: D-IPG alone at the noise level", "printed beside its own tolerance", shown, True),
        cheaper_goal(name, "to the noise level", prices),
    ]


def _reached(repeats: Sequence[Repeat], method: str) -> list[float]:
    return per_repeat(repeats, method, lambda repeat: repeat.reached(method))


def _over_linear(repeats: Sequence[Repeat]) -> list[float]:
    return per_repeat(repeats, DIPG, lambda repeat: repeat.over_linear(DIPG))


def _median_iterations(repeats: Sequence[Repeat]) -> float:
    return iterations(repeats, DIPG).double().median().item()
