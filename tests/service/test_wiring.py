"""What settings mean for the parts: where overlap and buckets are on."""

from pathlib import Path

import pytest

from service import mains
from service.settings import CHECKPOINTS, Settings
from service.wiring import on_where_it_pays, worker_config


@pytest.mark.parametrize(
    ("asked", "device", "on"),
    [("auto", "cpu", False), ("auto", "cuda", True), ("on", "cpu", True), ("off", "cuda", False)],
)
def test_what_pays_on_a_gpu_is_on_there_unless_it_was_asked_for(asked: str, device: str, on: bool) -> None:
    assert on_where_it_pays(asked, device) is on
    assert (worker_config(Settings(overlap=asked), device).overlap_up_to_s > 0) is on  # type: ignore[arg-type]


def test_buckets_reach_up_to_the_largest_batch(tmp_path: Path) -> None:
    (tmp_path / "oscillator").symlink_to(CHECKPOINTS / "oscillator")
    settings = Settings(checkpoints=tmp_path, device="cpu", buckets="on", batch_items=50)
    for given, buckets in ((settings, (4, 8, 16, 32)), (settings.model_copy(update={"buckets": "auto"}), ())):
        assert mains._solvers(given)[0]._load("oscillator", 1).sizes.buckets == buckets
