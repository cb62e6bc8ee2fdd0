"""The engine as a callable on columns: the answers of a job, from Parquet by Ray, from Zarr, from a loop."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from physics.problem import load_problem
from service.bulk import Inverter
from service.columns import COLUMNS
from service.errors import InvalidInput, UnknownModel
from service.inference import Inference, SolveSpec
from service.settings import CHECKPOINTS
from tests.blocks import Block, blocks_of

HEAT = load_problem("heat1d")


@pytest.fixture(scope="module")
def heat() -> np.ndarray:
    """Noisy temperatures (300, 64)."""
    generator = torch.Generator().manual_seed(0)
    _, clean = HEAT.simulate(300, generator)
    return HEAT.observe(clean, generator).numpy()


def block(name: str) -> Block:
    return next(found for found in blocks_of("docs/bulk.md") if found.file == name)


def run(name: str, folder: Path) -> None:
    """Runs a block of the page in a folder, as a reader would."""
    (folder / name).write_text(block(name).text)
    ran = subprocess.run([sys.executable, name], cwd=folder, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr[-3000:]


def test_columns_are_the_items(heat: np.ndarray) -> None:
    found = Inverter("heat1d")({"observation": heat, "id": np.arange(300)})
    answer = Inference(CHECKPOINTS, "cpu").solve(SolveSpec("heat1d", 1, ("auto",)), heat)[0]
    assert set(found) == {"observation", "id", "x", *COLUMNS}
    np.testing.assert_array_equal(found["x"], answer.x)
    assert found["verdict"].tolist() == [item["diagnostics"]["verdict"] for item in answer.items]
    assert found["iterations"].tolist() == [item["iterations"] for item in answer.items]


def test_a_bad_row_costs_the_others_nothing(heat: np.ndarray) -> None:
    bad = heat[:5].copy()
    bad[2, 7] = np.nan
    found = Inverter("heat1d")({"observation": bad})
    assert found["status"].tolist().count("nonfinite") == 1
    assert np.isnan(found["x"]).all(axis=1).tolist() == [False, False, True, False, False]


def test_what_cannot_be_is_said(heat: np.ndarray) -> None:
    with pytest.raises(UnknownModel):
        Inverter("nothing")
    with pytest.raises(InvalidInput, match="no column"):
        Inverter("heat1d", column="y")({"observation": heat})
    with pytest.raises(InvalidInput, match="63 values"):
        Inverter("heat1d")({"observation": heat[:, 1:]})


def test_zarr_block_by_block(heat: np.ndarray, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed (extra bulk)")
    stored = zarr.create_array(tmp_path / "observations.zarr", shape=heat.shape, chunks=(128, 64), dtype="float64")
    stored[:] = heat
    run("zarr_blocks.py", tmp_path)
    found = zarr.open_array(tmp_path / "x.zarr", mode="r")[:]
    np.testing.assert_allclose(found, Inverter("heat1d")({"observation": heat})["x"], rtol=1e-6)


def test_dask_block_by_block(heat: np.ndarray, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed (extra bulk)")
    pytest.importorskip("dask.array", reason="Dask is not installed (pip install 'dask[array]')")
    stored = zarr.create_array(tmp_path / "observations.zarr", shape=heat.shape, chunks=(128, 64), dtype="float32")
    stored[:] = heat
    run("dask_blocks.py", tmp_path)
    found = zarr.open_array(tmp_path / "x-dask.zarr", mode="r")[:]
    np.testing.assert_array_equal(found, Inverter("heat1d")({"observation": heat.astype(np.float32)})["x"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_parquet_through_ray(heat: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra bulk)")
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"id": np.arange(300), "observation": list(heat)}), tmp_path / "observations.parquet")
    run("parquet.py", tmp_path)
    table = pq.read_table(tmp_path / "inverted").sort_by("id")
    expected = Inverter("heat1d")({"observation": heat})
    np.testing.assert_allclose(np.stack(table["x"].to_numpy()), expected["x"], rtol=1e-6)
    assert table["verdict"].to_pylist() == expected["verdict"].tolist()
