"""Confirmed or refuted is read off the figures, seed by seed."""

import pytest

from benchmarks.claims import Claim, Verdict, judge, sentence

RISES = Claim("Without JCP", "the error", "rises", (0.043, 460.0), if_confirmed="Since so.", if_refuted="Since not.")
FALLS = Claim("With rho 1", "the count", "falls")
STAYS = Claim("Without cycle", "the count", "stays")


@pytest.mark.parametrize(
    ("claim", "before", "after", "verdict"),
    [
        (RISES, [1.0, 1.0, 1.0], [2.0, 3.0, 1.3], Verdict.CONFIRMED),
        (RISES, [1.0, 1.0, 1.0], [1.1, 1.0, 1.2], Verdict.REFUTED),
        (RISES, [2.0, 2.0], [1.0, 1.0], Verdict.REFUTED),
        (RISES, [1.0, 1.0], [2.0, 1.0], Verdict.UNDECIDED),
        (RISES, [0.0], [1.0], Verdict.CONFIRMED),
        (FALLS, [3.0, 3.0], [1.0, 2.0], Verdict.CONFIRMED),
        (FALLS, [3.0, 3.0], [9.0, 9.0], Verdict.REFUTED),
        (STAYS, [3.0, 2.9], [2.9, 3.0], Verdict.CONFIRMED),
        (STAYS, [0.0], [0.0], Verdict.CONFIRMED),
        (STAYS, [3.0, 3.0], [6.0, 6.0], Verdict.REFUTED),
    ],
)
def test_judges_by_the_direction_of_every_seed(
    claim: Claim, before: list[float], after: list[float], verdict: Verdict
) -> None:
    assert judge(claim, before, after) is verdict


def test_what_counts_as_the_same_is_the_claims_own() -> None:
    strict = Claim("With covariance probes", "the error in x", "falls", within=1.02)
    assert judge(strict, [1.0], [0.95]) is Verdict.CONFIRMED
    assert judge(FALLS, [1.0], [0.95]) is Verdict.REFUTED


def test_the_sentence_names_verdict_figures_and_the_right_reason() -> None:
    confirmed = sentence(RISES, [0.04, 0.04, 0.05], [200.0, 240.0, 260.0])
    assert "**confirmed**" in confirmed
    assert "0.0430 to 460 (x 10698)" in confirmed
    assert "0.0400 to 240 (x 6000; 3 seeds)" in confirmed
    assert confirmed.endswith("Since so.")
    refuted = sentence(RISES, [0.04], [0.04])
    assert "**refuted**" in refuted
    assert refuted.endswith("Since not.")


def test_seeds_that_disagree_are_said_to() -> None:
    undecided = sentence(RISES, [1.0, 1.0], [2.0, 0.5])
    assert "**undecided**" in undecided
    assert "disagree" in undecided
    assert "Since" not in undecided


@pytest.mark.parametrize(("before", "after"), [([], []), ([1.0], [1.0, 2.0])])
def test_needs_one_figure_of_each_for_every_seed(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match="one of each for every seed"):
        judge(RISES, before, after)
