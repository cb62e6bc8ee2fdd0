"""Conformal p-values are valid whatever the scores look like; verdicts follow from them and from nothing else."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import Tensor

from trust.calibration import COLUMNS, Calibration
from trust.moments import Observed, Spread
from trust.ranks import FURTHEST, Ranks, conformal_p, strangeness, strangest, sum_of_squares
from trust.scores import QUESTIONS, SCORES
from trust.uncertainty import Prior
from trust.verdict import REASONS, Verdict, reasons, verdict

FINITE = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0])
SCORE_LISTS = st.lists(FINITE | st.sampled_from([float("nan"), float("inf"), -float("inf")]), min_size=2, max_size=40)


def ascending(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).sort().values


@given(SCORE_LISTS)
def test_p_values_are_super_uniform(scores: list[float]) -> None:
    """Take each of N + 1 items for the new one: at most k of them have p <= k / (N + 1). Ties and NaN included."""
    p = torch.stack(
        [
            conformal_p(ascending(scores[:i] + scores[i + 1 :]), ascending(scores[i : i + 1]))[0]
            for i in range(len(scores))
        ]
    )
    for k in range(1, len(scores) + 1):
        assert (p <= k / len(scores) + 1e-12).sum() <= k


@given(st.lists(FINITE, min_size=1, max_size=30), FINITE)
def test_p_value_is_a_rank(calibration: list[float], new: float) -> None:
    p = conformal_p(ascending(calibration), ascending([new])).item()
    assert p == pytest.approx((1 + sum(s >= new for s in calibration)) / (len(calibration) + 1))


@pytest.mark.parametrize(("score", "expected"), [(torch.nan, 0.25), (torch.inf, 0.25), (-torch.inf, 1.0)])
def test_what_is_not_a_number_is_as_strange_as_can_be(score: float, expected: float) -> None:
    p = conformal_p(ascending([1.0, 2.0, 3.0]), torch.tensor([score]).double())
    assert p.tolist() == [expected]


def test_a_question_is_answered_by_its_strangest_score_and_the_answers_are_summed() -> None:
    p = torch.tensor([[0.5, 0.1, 0.2], [1.0, 1.0, 0.3]]).double()
    expected = -torch.tensor([[0.1, 0.2], [1.0, 0.3]]).double().log()
    inside = torch.zeros(2, 3, dtype=torch.float64)
    torch.testing.assert_close(strangest(strangeness(p, inside, inside[0] + 1), ((0, 1), (2,))), expected)
    torch.testing.assert_close(sum_of_squares(p[:, 1:]), p[:, 1:].log().square().sum(1))


def test_beyond_the_calibration_further_is_stranger() -> None:
    scores = torch.tensor([[1.0], [2.0], [8.0], [torch.inf]]).double()
    found = strangeness(torch.full((4, 1), 0.1).double(), scores, torch.tensor([2.0]).double())[:, 0] + math.log(0.1)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, math.log(4.0), FURTHEST]).double())


QUESTIONED = ((0, 1, 2), (3, 4))


def dependent(rows: int) -> Tensor:
    """Five scores, far from independent: two are the same, one is its square, one its opposite, one another's sum."""
    z = torch.randn(rows, 2, dtype=torch.float64)
    return torch.stack([z[:, 0], z[:, 0], z[:, 0] ** 2, -z[:, 0], z.sum(1).exp()], dim=1)


def calibrated(scores: Tensor) -> Ranks:
    return Ranks.of(scores, QUESTIONED)


def test_every_score_is_asked_once() -> None:
    assert sorted(name for names in QUESTIONS for name in names) == sorted(SCORES)


@pytest.mark.parametrize(("size", "draws"), [(1000, 12), (99, 120)])
def test_the_combined_p_value_holds_for_dependent_scores(size: int, draws: int) -> None:
    """Over calibrations of large and small size. Fisher's own chi-square with 2 S degrees of freedom is far off."""
    levels = torch.tensor([0.01, 0.05, 0.2, 0.5], dtype=torch.float64) + 1e-9
    below, naive = [], []
    for _ in range(draws):
        each, combined = calibrated(dependent(size)).p_values(dependent(2000))
        below.append((torch.cat([each, combined[:, None]], 1)[..., None] <= levels).double().mean(0))
        naive.append((chi2.sf(-2.0 * each.log().sum(1).numpy(), 10) <= 0.05).mean())
    found = torch.stack(below).mean(0)
    torch.testing.assert_close(found, levels.expand_as(found), rtol=0.1, atol=0.005)
    assert abs(sum(naive) / draws - 0.05) > 0.015


def test_a_strange_item_gets_a_small_combined_p_value() -> None:
    calibration = calibrated(dependent(500))
    broken = torch.full((1, 5), torch.nan, dtype=torch.float64)
    each, combined = calibration.p_values(broken)
    assert each.tolist() == [[1 / 501] * 5]
    assert combined.item() <= 3 / 501  # one in each question can tie with it
    assert verdict(combined.item()) == Verdict.OUT_OF_RANGE


def test_rows_do_not_know_each_other() -> None:
    calibration, fresh = calibrated(dependent(300)), dependent(10)
    each, combined = calibration.p_values(fresh)
    for i in range(10):
        alone = calibration.p_values(fresh[i : i + 1])
        assert torch.equal(alone[0][0], each[i])
        assert torch.equal(alone[1][0], combined[i])


def test_calibration_items_without_a_score_count_as_strange() -> None:
    scores = dependent(199)
    scores[:20] = torch.nan
    calibration = calibrated(scores)
    each, combined = calibration.p_values(dependent(50))
    assert (each > 20 / 200).all()
    assert (combined > 20 / 200).all()
    assert calibration.scores.isnan().sum() == 0


def whole(scores: Tensor) -> Calibration:
    eye = torch.eye(2, dtype=torch.float64)
    spread = Spread(eye[0], eye[1], eye[0, 0])
    return Calibration(Ranks.of(scores, COLUMNS), Observed(eye[0], eye), spread, Prior(eye, torch.empty(0, 2)), eye[0])


def test_round_trip_through_tensors() -> None:
    calibration, fresh = whole(torch.rand(50, len(SCORES))), torch.rand(5, len(SCORES))
    found = Calibration.from_tensors(calibration.tensors())
    for a, b in zip(found.p_values(fresh), calibration.p_values(fresh), strict=True):
        assert torch.equal(a, b)
    for name, tensor in calibration.tensors().items():
        assert torch.equal(found.tensors()[name], tensor)
    with pytest.raises(KeyError):
        Calibration.from_tensors({"scores": torch.zeros(1, len(SCORES))})


def test_quantiles() -> None:
    factors = torch.arange(1.0, len(SCORES) + 1, dtype=torch.float64)
    found = whole(torch.arange(101.0, dtype=torch.float64)[:, None] * factors).quantiles()
    assert list(found) == list(SCORES)
    assert found["rjcp"] == pytest.approx({"median": 50.0, "p95": 95.0, "p99": 99.0})
    assert found["mahalanobis"]["p95"] == pytest.approx(95.0 * (1 + SCORES.index("mahalanobis")))


@pytest.mark.parametrize(
    ("p_value", "expected"),
    [(1.0, "in_range"), (0.05, "in_range"), (0.0499, "suspect"), (0.01, "suspect"), (0.0099, "out_of_range")],
)
def test_verdicts(p_value: float, expected: str) -> None:
    assert verdict(p_value) == expected


def test_reasons_name_the_strange_scores_the_strangest_first() -> None:
    p_values = dict.fromkeys(SCORES, 0.9) | {"rjcp": 0.03, "jacobian_jump": 0.002}
    found = reasons(0.004, p_values)
    assert found == [f"{REASONS['jacobian_jump']}; p = 0.002", f"{REASONS['rjcp']}; p = 0.03"]


def test_one_residual_is_one_reason() -> None:
    p_values = dict.fromkeys(SCORES, 0.9) | {"residual_to_noise": 0.002, "physics_residual_to_noise": 0.002}
    assert reasons(0.004, p_values) == [f"{REASONS['residual_to_noise']}; p = 0.002"]
    p_values["physics_residual_to_noise"] = 0.001
    assert len(reasons(0.004, p_values)) == 2


def test_no_reasons_in_range_and_always_one_outside() -> None:
    faint = dict.fromkeys(SCORES, 0.2) | {"mahalanobis": 0.1}
    assert reasons(0.05, faint) == []
    assert reasons(0.049, faint) == [f"{REASONS['mahalanobis']}; p = 0.1"]


def test_every_score_has_a_reason() -> None:
    assert set(REASONS) == set(SCORES)


def test_scores_that_differ_by_rounding_are_ties() -> None:
    constant = torch.full((99,), 0.25, dtype=torch.float64)
    noisy = constant * (1.0 + 1e-6 * torch.randn(99, dtype=torch.float64))
    for score in (0.25, 0.25 * (1 + 1e-6), 0.25 * (1 - 1e-6)):
        assert conformal_p(noisy.sort().values, torch.tensor([score]).double()).item() == 1.0
    assert conformal_p(constant, torch.tensor([0.26]).double()).item() == pytest.approx(0.01)
    infinite = torch.tensor([torch.inf, -torch.inf], dtype=torch.float64)
    assert conformal_p(constant, infinite).tolist() == [0.01, 1.0]
