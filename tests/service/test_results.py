"""Answers are split into chunk parts and joined again, in order, failed chunks included."""

import json
from typing import Any

import numpy as np
import pytest

from service.arrays import decode_npy
from service.inference import Answer, SolveSpec
from service.queue.records import ERROR_PART, ITEMS_PART
from service.results import Heading, items_of_method, join_outcomes, result_json, result_npy, split_answers

SPEC = SolveSpec("m", 1, ("lm", "gd"), constraint='{"box":{"lower":0}}')
LOST = {ERROR_PART: b"the worker died three times", ITEMS_PART: b"2"}


def answer(method: str, offset: float) -> Answer:
    """Five rows of two unknowns; the row 3 is an error, row 1 has a NaN diagnostic."""
    x = offset + np.arange(10.0).reshape(5, 2)
    x[3] = np.nan
    items: list[dict[str, Any]] = [{"row": i, "rjcp": np.float32(i), "error": None} for i in range(5)]
    items[1]["rjcp"] = float("nan")
    items[3]["error"] = {"type": "nonfinite", "detail": "no"}
    return Answer(method, x, items, solve_s=1.0, diagnose_s=0.5)


ANSWERS = [answer("lm", 0.0), answer("gd", 100.0)]


def test_failed_items_are_counted_where_they_are() -> None:
    assert [outcome.failed for outcome in split_answers(ANSWERS, [2, 1, 2], "cpu", "torch")] == [0, 0, 1]


def test_time_is_shared_by_rows() -> None:
    first, _ = split_answers(ANSWERS, [2, 3], "cpu", "torch")
    found = Heading.of(SPEC, [first.parts])
    assert (found.solve_s, found.diagnose_s) == (pytest.approx(0.8), pytest.approx(0.4))


def test_chunks_join_in_order_around_a_lost_one() -> None:
    first, second = split_answers(ANSWERS, [2, 3], "cpu", "torch")
    chunks = [first.parts, LOST, second.parts]
    document = json.loads(result_json(SPEC, "compare", 0.25, chunks))
    assert document["rules"]["constraint"] == {"box": {"lower": 0}}
    assert document["timing"]["queued_s"] == 0.25
    lm, gd = (entry["items"] for entry in document["results"])
    assert [item.get("row") for item in lm] == [0, 1, None, None, 2, 3, 4]
    assert [item["x"] for item in gd] == [[100, 101], [102, 103], None, None, [104, 105], None, [108, 109]]
    assert lm[1]["rjcp"] is None
    assert lm[2]["error"] == {"type": "failed", "detail": "the worker died three times"}
    assert items_of_method(chunks, 1) == gd
    stacked = decode_npy(result_npy("compare", chunks))
    assert stacked.shape == (2, 7, 2)
    assert np.isnan(stacked[:, [2, 3, 5]]).all()


def test_a_job_lost_altogether_still_has_items() -> None:
    spec = SolveSpec("m", 1, ("lm",))
    document = json.loads(result_json(spec, "invert", None, [LOST]))
    assert [item["x"] for item in document["items"]] == [None, None]
    assert decode_npy(result_npy("invert", [LOST])).shape == (2, 0)


def test_items_solved_one_by_one_join_to_the_same_texts() -> None:
    whole, *each = split_answers(ANSWERS, [5], "cpu", "torch") + split_answers(ANSWERS, [1] * 5, "cpu", "torch")
    joined = join_outcomes([*each[:2], "it ended the process", *each[3:]], 2)
    assert joined.failed == 2
    for k in range(2):
        items, expected = (items_of_method([parts], k) for parts in (joined.parts, whole.parts))
        assert items[2]["error"]["detail"] == "it ended the process"
        assert items[:2] + items[3:] == expected[:2] + expected[3:]
