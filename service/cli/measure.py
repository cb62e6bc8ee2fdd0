"""`deceptron bench`, `deceptron train` and `deceptron export`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="A folder for tables, figures and rows; OUT.md sums up.")
@click.option("--items", type=click.IntRange(min=20), default=500, show_default=True, help="Held-out items per repeat.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Draws of that many items.")
@click.option(
    "--cost-s",
    type=click.FloatRange(min=0.001),
    default=1.0,
    show_default=True,
    help="CPU seconds a cost is measured for.",
)
@click.option("--quick", is_flag=True, help="All of it cut short, to see that it runs; its figures mean nothing.")
def bench(name: str, out: Path | None, items: int, repeats: int, quick: bool, cost_s: float) -> None:
    """Run the benchmark NAME: paper, product, ablation, scaling, peers, trust (`all` of these), deblur, speed-engine,
    speed-service, speed-scaling (these three: `speed`), speed-memory, speed-overlap or speed-buckets."""
    from benchmarks.run import UnknownBenchmark, main
    from service.settings import load_settings

    try:
        main(name, out, load_settings().checkpoints, items, repeats, quick, cost_s)
    except UnknownBenchmark as error:
        raise click.UsageError(str(error)) from None


@click.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Write there.")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True, help="May be repeated.")
@click.option("--budget", type=click.Choice(["smoke", "full"]), default="full", show_default=True)
@click.option("--resume/--restart", default=True, show_default=True, help="Go on from an interrupted run.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--version", type=click.IntRange(min=1), help="Number of the checkpoint.  [the recipe's]")
def train(
    recipe: str, out: Path, seeds: tuple[int, ...], budget: str, resume: bool, device: Any, version: int | None
) -> None:
    """Train RECIPE (a shipped one, or one that an installed package registers) and write its checkpoint."""
    from training.network_recipes import NETWORK_RECIPES
    from training.resume import CannotResume
    from training.run import UnknownRecipe
    from training.run import train as run

    try:
        if recipe in NETWORK_RECIPES:
            from training.network_run import train_network

            for seed in reversed(seeds):
                click.echo(f"checkpoint: {train_network(recipe, out, seed, budget, resume)}")
            return
        graphs = budget == "full" and find_spec("onnxruntime") is not None
        made = run(recipe, out, seeds, budget, resume, version=version, device=device, graphs=graphs)
        click.echo(f"checkpoint: {made}")
    except UnknownRecipe as error:
        raise click.UsageError(str(error)) from None
    except CannotResume as error:
        raise click.ClickException(str(error)) from None


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
def export(names: tuple[str, ...]) -> None:
    """Write MODEL's graphs for ONNX Runtime beside its checkpoint, where they are quicker than PyTorch (default: all).

    A minute or so a model. Run it once after training, on a machine like those that will serve.
    """
    from models.network_export import export_network
    from models.registry import Registry
    from service.settings import load_settings
    from solvers.export import export as export_maps

    registry = Registry(load_settings().checkpoints)
    for name in names or (*registry.names(), *registry.networks()):
        run = export_network if name in registry.networks() else export_maps
        record = run(registry, name)
        gains = ", ".join(f"{what} x{ratio:g}" for what, ratio in record.speedup.items())
        click.echo(f"{name}: {record.default}; torch's time over the graph's, GRAPH/BATCH or SIDE: {gains or 'none'}")
        for graph, reason in record.left_out.items():
            click.echo(f"  {graph} stays with torch: {reason}")


@click.command()
@click.argument("name", metavar="MODEL")
def recalibrate(name: str) -> None:
    """Rank MODEL's calibration items again, after an upgrade that changed its scores. Nothing is trained.

    Seconds for most models; minutes for one with a thousand unknowns. The limits on its card are emptied: they were
    measured under the old scores.
    """
    from models.registry import Registry
    from service.settings import load_settings
    from training.network_run import recalibrate_network
    from training.run import recalibrate as recalibrate_maps

    root = load_settings().checkpoints
    run = recalibrate_network if name in Registry(root).networks() else recalibrate_maps
    click.echo(f"checkpoint: {run(name, root)}")
