"""What a benchmark is expected to come out at, and whether it did: gathered from all reports in docs/results.md."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One figure that was promised.

    Attributes:
        figure: what is measured; wanted: the bound, in words; measured: what came out.
        why: where it does not hold, the measured reason.
    """

    figure: str
    wanted: str
    measured: str
    holds: bool
    why: str = ""

    def row(self) -> list[str]:
        """The cells of its table row."""
        return [self.figure, self.wanted, self.measured, "yes" if self.holds else f"**no**. {self.why}".strip()]


COLUMNS = ["figure", "goal", "measured", "holds"]


def at_least(figure: str, bound: float, values: Sequence[float], why: str = "") -> Goal:
    """Every one of the values reaches the bound."""
    return Goal(figure, f"at least {bound:g}", _listed(values), all(value >= bound for value in values), why)


def at_most(figure: str, bound: float, values: Sequence[float], why: str = "") -> Goal:
    """None of the values exceeds the bound."""
    return Goal(figure, f"at most {bound:g}", _listed(values), all(value <= bound for value in values), why)


def _listed(values: Sequence[float]) -> str:
    """All values, so that a single bad one is seen; equal ones once."""
    shown = [f"{value:.3g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else ", ".join(shown)
