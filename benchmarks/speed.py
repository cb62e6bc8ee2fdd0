"""``deceptron bench speed-engine``: one iteration against its floor, and against the author's package."""

from benchmarks.author import NotImportable, agreement, author_package
from benchmarks.measure import held_out_items
from benchmarks.report import Report, significant
from benchmarks.setup import Setup, one_thread
from benchmarks.speed_engine import BATCHES, Step, step

MODEL = "heat1d"
DATA_SEED = 20261125
AUTHOR_ITEMS = 20


@one_thread()
def run(setup: Setup) -> Report:
    """Every ratio within this one run."""
    report = Report("speed-engine", setup.command("speed-engine"))
    report.text(
        "One thread a process, on whatever else the machine does: only ratios within one run mean anything. A step is "
        "one iteration of the loop from the one-shot answer, a solve of one less a solve of none, medians; the bare "
        "products are the matrix products of f, its transpose and g, with nothing between them, best of repeats."
    )
    names = [MODEL] if setup.quick else setup.registry.names()
    steps = [step(setup.registry.load(name), batch, setup.budget_s) for name in names for batch in _batches(setup)]
    _engine_table(report, steps)
    _author(report, setup, steps[0])
    return report


def _batches(setup: Setup) -> tuple[int, ...]:
    return BATCHES[:2] if setup.quick else BATCHES[:3]


def _engine_table(report: Report, steps: list[Step]) -> None:
    rows = []
    for one in steps:
        best = min(one.dipg.values())
        cells = [one.model, str(one.batch)]
        cells += [_us(one.dipg.get(engine), one.batch) for engine in ("torch", "onnxruntime")]
        cells += [_us(one.lm, one.batch), _us(one.products, one.batch)]
        rows.append([*cells, "" if one.products is None else significant(best / one.products)])
        report.keep_rows(model=one.model, batch=one.batch, lm=one.lm, products=one.products, **one.dipg)
    columns = ["model", "batch", "D-IPG, torch", "D-IPG, ONNX Runtime", "LM, torch", "bare products", "D-IPG / bare"]
    report.table("One iteration, microseconds per item", columns, rows)


def _us(seconds: float | None, batch: int) -> str:
    return "" if seconds is None else significant(1e6 * seconds / batch)


def _author(report: Report, setup: Setup, alone: Step) -> None:
    try:
        package = author_package()
    except NotImportable as error:
        report.text(f"The author's package was not measured: {error}.")
        return
    loaded = setup.registry.load("heat1d-paper")
    found = agreement(package, loaded, "dipg", held_out_items(loaded.problem, AUTHOR_ITEMS, DATA_SEED, 0))
    per_iteration = found.their_seconds / max(1.0, found.their_iterations.double().mean().item())
    ours = min(alone.dipg.values())
    report.text(
        f"The author's package takes {significant(1e3 * per_iteration)} ms per D-IPG iteration (heat1d-paper, one "
        f"item, float64): {significant(per_iteration / ours)} times our step on {MODEL} at batch 1."
    )
