"""A published direction set against our figures, and the sentence that says whether they agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Literal

from benchmarks.report import significant


class Verdict(StrEnum):
    """What our figures say about a published direction."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Claim:
    """A change to the method, and what it was published to do to a figure.

    Attributes:
        change: the subject of the sentence, e.g. ``Without JCP``.
        figure: what is compared, e.g. ``the composition error (sum)``.
        direction: what the figure is said to do.
        published: the published figures before and after, where there are any.
        source: whose claim it is.
        within: a ratio between 1 / within and within counts as staying the same.
        if_confirmed, if_refuted: why, as far as the figures of the benchmark show it.
    """

    change: str
    figure: str
    direction: Literal["rises", "falls", "stays"]
    published: tuple[float, float] | None = None
    source: str = "the paper"
    within: float = 1.25
    if_confirmed: str = ""
    if_refuted: str = ""


def judge(claim: Claim, before: Sequence[float], after: Sequence[float]) -> Verdict:
    """Seed by seed: confirmed or refuted only where all seeds say the same.

    Args:
        before, after: the figure with and without the change, one value a seed, the same seeds in the same order.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"{len(before)} figures before and {len(after)} after: one of each for every seed is needed")
    seen = {_direction(b, a, claim.within) for b, a in zip(before, after, strict=True)}
    if len(seen) > 1:
        return Verdict.UNDECIDED
    return Verdict.CONFIRMED if seen == {claim.direction} else Verdict.REFUTED


def sentence(claim: Claim, before: Sequence[float], after: Sequence[float]) -> str:
    """The verdict in words: what was claimed, what was published, what came out here, and why."""
    verdict = judge(claim, before, after)
    said = f"{claim.change}, {claim.figure} {_VERBS[claim.direction]} ({claim.source}): **{verdict}**."
    published = ""
    if claim.published is not None:
        low, high = claim.published
        published = f" Published: {significant(low)} to {significant(high)} ({_times(low, high)})."
    here = (
        f" Here: {significant(median(before))} to {significant(median(after))} ({_times(median(before), median(after))}"
    )
    seeds = f"; {len(before)} seeds)." if len(before) > 1 else "; one seed)."
    if verdict is Verdict.UNDECIDED:
        seeds = f"; the {len(before)} seeds disagree on the direction)."
    why = {Verdict.CONFIRMED: claim.if_confirmed, Verdict.REFUTED: claim.if_refuted}.get(verdict, "")
    return said + published + here + seeds + (f" {why}" if why else "")


_VERBS = {"rises": "rises", "falls": "falls", "stays": "stays about the same"}


def _direction(before: float, after: float, within: float) -> str:
    if before == after:
        return "stays"
    ratio = after / before if before else float("inf")
    if ratio > within:
        return "rises"
    return "falls" if ratio < 1.0 / within else "stays"


def _times(before: float, after: float) -> str:
    return f"x {significant(after / before)}" if before else "from zero"
