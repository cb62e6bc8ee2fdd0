"""The shipped checkpoints under a setup small enough for a test."""

from pathlib import Path

import pytest

from benchmarks.setup import Setup
from models.registry import Registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def setup() -> Setup:
    """Twenty items, once, everything long cut short."""
    return Setup(Registry(ROOT / "checkpoints"), items=20, repeats=1, quick=True)
