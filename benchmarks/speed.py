"""``deceptron bench speed-engine``: an iteration against its floor, the author's package and SciPy."""

import sys
from collections.abc import Sequence

from benchmarks import goals
from benchmarks.author import NotImportable, author_package, iteration_seconds
from benchmarks.charts import Figure, Panel, Series
from benchmarks.measure import first, held_out_items
from benchmarks.report import Report, significant
from benchmarks.setup import Setup, one_thread
from benchmarks.single import PEERS, Single, solved_by
from benchmarks.speed_engine import Line, batches_for, line
from models.registry import LoadedModel

MODEL = "heat1d"
DATA_SEED = 20261125
AUTHOR_MODELS = ("heat1d-paper", MODEL)  # linear or bounded by the same box: the author's solvers know no others
SCIPY_MODELS = ("heat1d-paper", MODEL, "oscillator")
SCIPY_ITEMS = 10
ENGINES = ("torch", "onnxruntime")
COLUMNS = ["model", "batch", "first, torch", "first, ONNX", "further, torch", "further, ONNX", "bare products"]
COLUMNS += ["further / bare", "shortened", "solve, torch", "solve, ONNX", "LM iteration"]
ABOUT = (
    "CPU time on one thread, best of repeats in turn (`benchmarks/speed_engine.py`): only ratios within one run mean "
    "anything. An iteration of D-IPG is a solve of one less a solve of none from the prior's start (*first*), or a "
    "solve of two less a solve of one (*further*); *shortened* is the share of rows whose line search then took more "
    "than the full step, which costs extra evaluations. A *solve* is a whole one under the model's own preset. *Bare "
    "products* are the matrix products of an iteration in PyTorch, into memory that is there, with nothing between "
    "them: f, its transpose, and g where the iteration needs it."
)


@one_thread()
def run(setup: Setup) -> Report:
    """Every ratio within this one run."""
    report = Report("speed-engine", setup.command("speed-engine"))
    report.text(ABOUT)
    names = AUTHOR_MODELS if setup.quick else setup.registry.names()
    lines = [found for name in names for found in _lines(setup, setup.registry.load(name))]
    _engine_table(report, lines)
    _bare_goals(report, [one for one in lines if one.model == MODEL])
    _author(report, setup, lines)
    if not setup.quick:
        _scipy(report, setup, lines)
    report.figure(_figure(lines))
    return report


def _lines(setup: Setup, loaded: LoadedModel) -> list[Line]:
    found = []
    for batch in batches_for(loaded):
        if setup.quick and batch not in (1, 1024):
            continue
        sys.stderr.write(f"bench speed-engine: {loaded.manifest.name}, batch {batch}\n")
        found.append(line(loaded, batch, setup.budget_s))
    return found


def _engine_table(report: Report, lines: Sequence[Line]) -> None:
    rows = []
    for one in lines:
        by_engine = [by.get(engine) for by in (one.first, one.further) for engine in ENGINES]
        cells = [_us(seconds, one.batch) for seconds in (*by_engine, one.products)]
        cells.append("" if one.products is None else significant(one.iteration / one.products))
        cells.append(f"{one.shortened:.2f}")
        cells += [_us(seconds, one.batch) for seconds in (*(one.solve.get(engine) for engine in ENGINES), one.lm)]
        rows.append([one.model, str(one.batch), *cells])
        report.keep_rows(
            model=one.model,
            batch=one.batch,
            first=dict(one.first),
            further=dict(one.further),
            solve=dict(one.solve),
            lm=one.lm,
            products=one.products,
            shortened=one.shortened,
        )
    report.table("Microseconds per item", COLUMNS, rows)


def _us(seconds: float | None, batch: int) -> str:
    return "" if seconds is None else significant(1e6 * seconds / batch)


def _bare_goals(report: Report, lines: Sequence[Line]) -> None:
    """Of a further iteration of the quicker engine."""
    alone = [one.iteration / one.products for one in lines if one.batch == 1 and one.products]
    many = [one.iteration / one.products for one in lines if one.batch >= 256 and one.products]
    why = "what lies between the products: normalising, two activations, clamping, Armijo's question"
    name = f"{MODEL}, a further iteration over its bare products"
    report.goals.append(goals.at_most(f"{name}, batch 1", 3.0, alone, why))
    report.goals.append(goals.at_most(f"{name}, batch 256 and more", 1.6, many, why))


def _author(report: Report, setup: Setup, lines: Sequence[Line]) -> None:
    try:
        package = author_package()
    except NotImportable as error:
        report.text(f"**The author's package** was not measured: {error}. Put a checkout on PYTHONPATH.")
        return
    rows = []
    for name in AUTHOR_MODELS:
        loaded = setup.registry.load(name)
        theirs = iteration_seconds(package, loaded, held_out_items(loaded.problem, 20, DATA_SEED, 0), setup.budget_s)
        report.keep_rows(model=name, author=theirs)
        ours = {one.batch: one for one in lines if one.model == name and one.batch in (1, 1024)}
        singly = [theirs / seconds for seconds in (min(ours[1].first.values()), ours[1].iteration)]
        ratios = [*singly, 1024 * theirs / ours[1024].iteration]
        rows.append([name, significant(1e6 * theirs), *(significant(ratio) for ratio in ratios)])
        what = f"{name}, the author's iteration over ours"
        floor = ours[1024].products
        least = "" if floor is None else f"its bare products alone allow {significant(1024 * theirs / floor)}"
        report.goals += [
            goals.at_least(f"{what}, batch 1, the first of a solve", 10.0, ratios[:1], "calls around one small step"),
            goals.at_least(f"{what}, batch 1, a further one", 10.0, ratios[1:2]),
            goals.at_least(f"{what}, per item of a batch of 1,024", 800.0, ratios[2:], least),
        ]
    columns = ["model", "theirs, µs", "/ our first", "/ our further", "/ our further, item of 1,024"]
    report.table("The author's package: an iteration of D-IPG, one item, same weights, float32", columns, rows)


def _scipy(report: Report, setup: Setup, lines: Sequence[Line]) -> None:
    rows = []
    for name in SCIPY_MODELS:
        loaded = setup.registry.load(name)
        preset, problem = loaded.manifest.preset, loaded.problem
        items = first(held_out_items(problem, SCIPY_ITEMS, DATA_SEED, 0), SCIPY_ITEMS)
        for peer in PEERS[:2]:
            found = solved_by(peer, Single.of(loaded, preset), items).measured
            report.keep_rows(model=name, peer=peer.name, microseconds=found.microseconds_per_item)
            ours = {one.batch: min(one.solve.values()) / one.batch for one in lines if one.model == name}
            cells = [significant(found.microseconds_per_item / (1e6 * ours[batch])) for batch in (1, 1024)]
            rows.append([name, peer.name, significant(found.microseconds_per_item), *cells])
    columns = ["model", "solver", "its µs per solve", "/ our solve, batch 1", "/ our solve, item of 1,024"]
    report.table("SciPy's least_squares to the same tolerance", columns, rows)


def _figure(lines: Sequence[Line]) -> Figure:
    panels = []
    for model in AUTHOR_MODELS:
        of = [one for one in lines if one.model == model]
        series = [_series(f"further, {engine}", [(o.batch, o.further.get(engine)) for o in of]) for engine in ENGINES]
        series.append(_series("bare products", [(one.batch, one.products) for one in of]))
        series.append(_series("lm", [(one.batch, one.lm) for one in of]))
        kept = tuple(one for one in series if one.x)
        panels.append(Panel("lines", model, "batch", "µs per item and iteration", kept, "xy"))
    return Figure("speed-engine.png", "An iteration by batch and engine, its bare products, and LM's.", tuple(panels))


def _series(name: str, points: Sequence[tuple[int, float | None]]) -> Series:
    known = [(float(batch), 1e6 * seconds / batch) for batch, seconds in points if seconds is not None]
    return Series(name, tuple(batch for batch, _ in known), tuple(us for _, us in known))
