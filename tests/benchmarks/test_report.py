"""Markdown for people, JSON for machines: nothing is lost between them."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.charts import Figure, Panel, Series
from benchmarks.measure import Measured
from benchmarks.report import Report, significant, significant_spread, spread
from solvers.plans import rules_for
from training.data import Items

FIGURE = Figure(
    "one.png", "A caption.", (Panel("lines", "t", "x", "y", (Series("lm", (1.0, 2.0), (3.0, float("nan"))),)),)
)


def measured(rows: int) -> tuple[Measured, Items]:
    x = torch.zeros(rows, 2)
    reached = torch.tensor([True] * (rows - 1) + [False])
    items = Items(x.double() + 3.0, x.double(), x.double())
    return Measured("lm", x, reached, reached, torch.arange(rows), 0.5, {1: 7.0}), items


def report() -> Report:
    out = Report("toy", "deceptron bench toy")
    out.text("A paragraph.")
    out.table("Table", ["a", "b"], [["1", "2"]])
    out.figure(FIGURE)
    out.protocol("model", rules_for("paper", 64))
    return out


def test_keeps_every_row_failed_ones_too(tmp_path: Path) -> None:
    out = report()
    one, items = measured(4)
    out.keep("model", 0, one, items)
    out.write(tmp_path)
    document = json.loads((tmp_path / "toy.json").read_text())
    (row,) = document["rows"]
    assert row["converged"] == [True, True, True, False]
    assert row["iterations"] == [0, 1, 2, 3]
    assert row["x_rmse"] == [3.0] * 4
    assert row["microseconds"] == {"1": 7.0}
    assert row["dtype"] == "float32"
    assert document["rules"]["model"]["tolerance"] == 0.3
    assert document["rules"]["model"]["line_search"]["relaxation"] == 0.4
    assert {"commit", "device", "dtype", "threads"} <= document["machine"].keys()


def test_a_measurement_of_the_first_items_is_held_against_their_truth() -> None:
    out = report()
    one, _ = measured(2)
    out.keep("model", 0, one, Items(torch.arange(8.0).reshape(4, 2), torch.zeros(4, 2), torch.zeros(4, 2)))
    assert out.rows[0]["x_rmse"] == pytest.approx([0.5**0.5, 6.5**0.5])


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    out = report()
    out.keep_rows(seconds=float("nan"), values=torch.tensor([1.0, float("inf")]))
    out.write(tmp_path)
    document = json.loads((tmp_path / "toy.json").read_text(), parse_constant=pytest.fail)
    assert document["rows"] == [{"seconds": None, "values": [1.0, None]}]
    assert document["figures"][0]["panels"][0]["series"][0]["y"] == [3.0, None]


def test_figures_are_linked_once_drawn() -> None:
    assert "one.png" not in report().markdown()
    assert "![A caption.](one.png)" in report().markdown(["one.png"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.012345, "0.0123"), (1.5, "1.50"), (123.4, "123"), (98765.0, "98765"), (2.5e7, "2.50e+07")],
)
def test_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_spread_is_the_median_and_the_range() -> None:
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0 to 3.0)"
    assert spread([3.0], 1) == "3.0"
    assert significant_spread([300.0, 1.0, 20.0]) == "20.0 (1.00 to 300)"
