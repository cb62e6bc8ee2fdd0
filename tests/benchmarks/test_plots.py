"""Every kind of panel becomes a PNG, silently; the same name has the same ink everywhere."""

from pathlib import Path

import pytest

from benchmarks.charts import Figure, Panel, Series
from benchmarks.plots import INKS, draw

LINES = Panel(
    "lines", "title", "n", "µs", (Series("dipg", (1.0, 9.0, 90.0), (1.0, 2.0, 9.0), (0.5, 1.0, 8.0), (2.0, 3.0, 11.0)),

    Series("lm, CG", (1.0,), (float("nan"),))), "xy", (1.0, "tolerance"),
)  # fmt: skip
SCATTER = Panel("scatter", "title", "lm", "dipg", (Series("lm", (0.1, 0.2), (0.3, 0.1)),), "xy")
DOTS = Panel("dots", "title", "error", "", (Series("dipg", (0.2,), (), (0.1,), (0.4,)), Series("oneshot", (3.0,))), "x")
MANY_DOTS = Panel("dots", "title", "error", "", tuple(Series(f"method {i}", (i + 1.0,)) for i in range(20)))


@pytest.mark.parametrize("panels", [(LINES,), (SCATTER,), (DOTS,), (LINES, SCATTER, DOTS), (MANY_DOTS,)])
def test_draws_every_kind(panels: tuple[Panel, ...], tmp_path: Path) -> None:
    assert draw([Figure("figure.png", "caption", panels)], tmp_path / "new") == ["figure.png"]
    data = (tmp_path / "new" / "figure.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 5_000


def test_no_two_methods_share_an_ink() -> None:
    assert len({colour for colour, _ in INKS.values()}) == len(INKS)
    assert len({marker for _, marker in INKS.values()}) == len(INKS)
