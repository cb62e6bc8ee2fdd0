"""Nearly right bodies, read directly: each is taken, or refused by the reader's own error (`make fuzz`: many more)."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.bodies import SEEDS, mutated, seeds
from tests.fuzz.targets import TARGETS, accepts

EXAMPLES = 200
DRAWS = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it then refuses
def test_a_broken_body_is_refused_cleanly(kind: str, tmp_path: Path) -> None:
    refused = 0

    @DRAWS
    @given(st.integers(0, 2**32))
    def run(seed: int) -> None:
        nonlocal refused
        refused += not accepts(kind, mutated(kind, Random(seed)), tmp_path)

    run()
    assert refused > EXAMPLES / 10, "the edits break next to nothing"


@pytest.mark.parametrize("kind", TARGETS)
def test_the_seeds_are_right(kind: str, tmp_path: Path) -> None:
    assert all(accepts(kind, data, tmp_path) for data in seeds(kind))


@pytest.mark.parametrize("kind", TARGETS)
@DRAWS
@given(data=st.binary(max_size=300))
def test_noise_is_refused(kind: str, data: bytes, tmp_path: Path) -> None:
    assert not accepts(kind, data, tmp_path)


def test_every_kind_has_seeds() -> None:
    assert all(seeds(kind) for kind in SEEDS)
