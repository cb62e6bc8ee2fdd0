"""``deceptron bench peers``: other people's least-squares solvers, and the paper author's own, under our rules."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from statistics import mean

import torch

from benchmarks.author import METHODS as AUTHOR_METHODS
from benchmarks.author import Agreement, NotImportable, agreement, author_package
from benchmarks.charts import Figure, Panel, Series
from benchmarks.measure import Measured, first, held_out_items, measure, quartiles, rmse
from benchmarks.report import Report, significant, significant_spread, spread
from benchmarks.setup import Setup, one_thread
from benchmarks.single import PEERS, Single, solved_by
from benchmarks.task import Task
from benchmarks.timing import BATCHES, microseconds_per_item
from models.registry import LoadedModel
from solvers.plans import Preset, rules_for
from training.data import Items

SETTINGS: tuple[tuple[str, Preset], ...] = (("heat1d-paper", "paper"), ("heat1d", "product"), ("oscillator", "product"))
AUTHOR_MODELS = ("heat1d-paper", "oscillator-paper")
OURS = ("dipg", "lm", "gn", "lbfgs")
MOST_ITEMS = 100  # per repeat: the peers take one item at a time
AGREE_WITHIN = 1e-5
COLUMNS = ["solver", "success", "at noise level", "x-RMSE", "iterations", "µs per item", "of it in f and J"]


@one_thread()
def run(setup: Setup) -> Report:
    """Peers and ours on the same items, model by model; then the author's package where it is importable."""
    report = Report("peers", setup.command("peers"))
    report.text(
        f"The first {setup.at_most(MOST_ITEMS)} items of each repeat. Peers get the same misfit, start, set C and "
        "tolerance, float64 and an exact Jacobian (Heat-1D: the constant matrix; oscillator: by autograd), and stop at "
        "the first point within the tolerance, as ours do; those marked *own stop* go on to their own convergence "
        "(1e-8). `lm` and pytorch-minimize know no bounds: their answers are projected afterwards. Iterations count "
        "evaluations of f for the peers. Costs are CPU time. Median of the repeats, their range in brackets."
    )
    panels = []
    for name, preset in SETTINGS:
        loaded = setup.registry.load(name)
        report.protocol(name, rules_for(preset, loaded.problem.m, loaded.manifest.refinements))
        panels.append(_one_model(setup, report, loaded, preset))
    _author(setup, report)
    report.figure(Figure("peers-time.png", "Time per item: alone, or in a batch where it says so.", tuple(panels)))
    return report


def _one_model(setup: Setup, report: Report, loaded: LoadedModel, preset: Preset) -> Panel:
    whole = _draws(setup, loaded)
    draws = [first(items, setup.at_most(MOST_ITEMS)) for items in whole]
    rows, times = [], []
    for peer in PEERS:
        solved = [solved_by(peer, Single.of(loaded, preset), items) for items in draws]
        measured = [one.measured for one in solved]
        shares = [one.inside for one in solved]
        singly = [one.microseconds_per_item for one in measured]
        rows.append(_row(report, loaded, draws, measured, singly, spread(shares, 2)))
        times.append((peer.name, singly))
    for method in OURS:
        measured = [measure(loaded, preset, method, items) for items in draws]
        for batch in BATCHES:
            costs = [
                mean(microseconds_per_item(Task.of(loaded, preset, method, items), batch, setup.budget_s))
                for items in whole
            ]
            label = f"{method} (ours)" + f", batch {min(batch, setup.items)}" * (batch > 1)
            rows.append(_row(report, loaded, draws, measured, costs, "-", label))
            times.append((label, costs))
    title = f"{loaded.manifest.name} (`{preset}`), {len(draws)} x {len(draws[0].x)} items"
    report.table(title, COLUMNS, rows)
    return _time_panel(loaded.manifest.name, times)


def _draws(setup: Setup, loaded: LoadedModel) -> list[Items]:
    seed = loaded.manifest.data["seed"]
    return [held_out_items(loaded.problem, setup.items, seed, repeat) for repeat in range(setup.repeats)]


def _row(
    report: Report,
    loaded: LoadedModel,
    draws: Sequence[Items],
    measured: Sequence[Measured],
    costs: Sequence[float],
    inside: str,
    label: str = "",
) -> list[str]:
    for repeat, (one, items, cost) in enumerate(zip(measured, draws, costs, strict=True)):
        report.keep(loaded.manifest.name, repeat, one, items, label=label or one.method, microseconds_per_item=cost)
    low, middle, high = quartiles(torch.cat([one.iterations for one in measured]))
    return [
        label or measured[0].method,
        spread([one.converged.double().mean().item() for one in measured]),
        spread([one.at_noise_level.double().mean().item() for one in measured]),
        spread([rmse(one.x, items.x) for one, items in zip(measured, draws, strict=True)]),
        f"{middle:g} [{low:g}, {high:g}]",
        significant_spread(costs),
        inside,
    ]


def _time_panel(title: str, times: Sequence[tuple[str, Sequence[float]]]) -> Panel:
    series = []
    for label, costs in times:
        ordered = sorted(costs)
        series.append(Series(label, (ordered[len(ordered) // 2],), (), (ordered[0],), (ordered[-1],)))
    return Panel("dots", title, "time per item in µs", "", tuple(series), "x")


def _author(setup: Setup, report: Report) -> None:
    """The agreement table, or a sentence on why there is none."""
    try:
        package = author_package()
    except NotImportable as error:
        report.text(
            f"**The paper author's package** was not compared: {error}. To do so put commit 5340748 of "
            "github.com/AadityaKachhadiya/deceptron on PYTHONPATH and run this again (benchmarks/author.py)."
        )
        return
    rows = []
    for name in AUTHOR_MODELS:
        loaded = setup.registry.load(name)
        items = first(_draws(setup, loaded)[0], setup.at_most(MOST_ITEMS))
        rows += [_agreement_row(report, name, agreement(package, loaded, method, items)) for method in AUTHOR_METHODS]
    report.text(
        f"**The paper author's package** (`deceptron` {_version(package.__name__)}), our weights in it, float64, the "
        "published protocol. *Same two rules*: the package takes Armijo's slope along the step before projection, "
        "the paper and our preset along the step that is made; and it lets crawling rows run to the cap, where the "
        "published notebook and our preset end them as stalled. With these two as the package has them, ours is the "
        "third column. The presets part only where a bound cuts a step or a row crawls."
    )
    columns = ["model", "method", "largest difference", f"items within {AGREE_WITHIN:g}", "largest, same two rules"]
    columns += ["median iterations, theirs", "ours", "ms per item, theirs", "ours"]
    report.table("The author's package against preset `paper`", columns, rows)


def _agreement_row(report: Report, model: str, found: Agreement) -> list[str]:
    by_preset, same_rules = found.differences(found.preset), found.differences(found.same_rules)
    report.keep_rows(
        model=model,
        method=f"{found.method}, the author's",
        dtype="float64",
        difference=by_preset,
        difference_same_rules=same_rules,
        iterations=found.their_iterations,
        our_iterations=found.our_iterations,
        seconds=found.their_seconds * len(by_preset),
    )
    return [
        model,
        found.method,
        f"{by_preset.max().item():.1e}",
        f"{(by_preset <= AGREE_WITHIN).double().mean().item():.3f}",
        f"{same_rules.max().item():.1e}",
        f"{found.their_iterations.double().median().item():g}",
        f"{found.our_iterations.double().median().item():g}",
        significant(1e3 * found.their_seconds),
        significant(1e3 * found.our_seconds),
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from a checkout"
