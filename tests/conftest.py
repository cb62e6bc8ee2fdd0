"""What every test starts from: fixed seeds, one thread, and a word on what this machine cannot run."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests import leash

try:
    import torch
except ImportError:  # the base install, and its tests, do without
    torch = None  # type: ignore[assignment]

SEED = 20251121

# derandomize: the same examples in every run, so that a red test stays red until it is mended.
# No time counts: the machine may be busy with much else.
TIMELESS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("deceptron", derandomize=True, max_examples=60, database=None, **TIMELESS)
settings.load_profile("deceptron")

if torch is not None:
    # Two workers share two cores, and the order of a sum must not depend on how many are free.
    torch.set_num_threads(1)
# Servers and workers that tests start inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Whoever runs the tests may have a service of their own, with its data and its keys.
os.environ["XDG_STATE_HOME"] = str(Path(tempfile.gettempdir()) / "deceptron-tests-have-no-state")
os.environ.pop("DECEPTRON_API_KEY", None)
leash.hold()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in each test, whatever ran before it."""
    np.random.seed(SEED)  # noqa: NPY002 - for code of others that draws from the global generator
    if torch is not None:
        torch.manual_seed(SEED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, and say so in the summary."""
    if torch is not None and torch.cuda.is_available():
        return
    reason = "NO CUDA DEVICE HERE: this test did not run, and nothing else covers it"
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))
