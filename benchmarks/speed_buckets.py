"""``deceptron bench speed-buckets``: what padding batches to a few sizes costs, and warming them."""

import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.measure import cpu_timed, held_out_items
from benchmarks.report import Report, significant, significant_spread
from benchmarks.setup import Setup, one_thread
from models.rows import Sizes
from service.inference import Inference, SolveSpec

MODELS = ("heat1d", "heat1d_nonlinear", "oscillator")
MOST, BATCHES, ROUNDS = 1024, 24, 5
DATA_SEED, SIZE_SEED = 20261125, 7
COLUMNS = ["model", "rows computed / asked for", "CPU with buckets / without", "to warm, s", "to warm without, s"]


@one_thread()
def run(setup: Setup) -> Report:
    """In process, on the CPU; both ways take turns on the same batches."""
    report = Report("speed-buckets", setup.command("speed-buckets"))
    report.text(
        f"Batches of 1 to {MOST} rows, their sizes spread evenly over the logarithm, full diagnostics, CPU time on one "
        "thread. Whole fours are filled up in either case."
    )
    most, rounds = (64, 1) if setup.quick else (MOST, ROUNDS)
    sizes = np.exp(np.random.default_rng(SIZE_SEED).uniform(0, np.log(most), BATCHES)).astype(int)
    for model in MODELS[:1] if setup.quick else MODELS:
        sys.stderr.write(f"bench speed-buckets: {model}\n")
        y = held_out_items(setup.registry.load(model).problem, most, DATA_SEED, 0).y.float().numpy()
        _compare(report, setup.registry.root / model, y, sizes, rounds)
    report.table("Ratios with their quartiles over the rounds", COLUMNS, [row["cells"] for row in report.rows])
    return report


def _compare(report: Report, checkpoint: Path, y: np.ndarray, sizes: np.ndarray, rounds: int) -> None:
    buckets = Sizes.up_to(len(y))
    padded = sum(buckets.of(int(size)) for size in sizes) / sum(sizes)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, checkpoint.name).symlink_to(checkpoint.resolve())
        ways = [Inference(Path(folder), "cpu", "auto", most) for most in (0, len(y))]
        for way in ways:
            way.manifests()
            way.loaded(checkpoint.name)
        Inference(Path(folder), "cpu").warm()  # what a process pays once, at its first solve, is no part of either
        warm_s = [cpu_timed(way.warm)[1] for way in ways]
        ratios = [_seconds(ways[1], y, sizes) / _seconds(ways[0], y, sizes) for _ in range(rounds)]
    cells = [checkpoint.name, significant(float(padded)), significant_spread(ratios)]
    report.keep_rows(
        model=checkpoint.name,
        padded=float(padded),
        ratios=ratios,
        median=median(ratios),
        warm_s=warm_s,
        cells=[*cells, significant(warm_s[1]), significant(warm_s[0])],
    )


def _seconds(inference: Inference, y: np.ndarray, sizes: np.ndarray) -> float:
    [manifest] = inference.manifests()
    spec = SolveSpec(manifest.name, manifest.version, ("auto",), manifest.preset)
    return sum(cpu_timed(lambda size=size: inference.solve(spec, y[:size]))[1] for size in sizes)  # type: ignore[misc]
