"""`deceptron bench` and `deceptron train`."""

from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Write the report there as well.")
def bench(name: str, out: Path | None) -> None:
    """Run the benchmark NAME and print its table."""
    from benchmarks.run import main

    main(name, out)


@click.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Write there.")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True, help="May be repeated.")
@click.option("--budget", type=click.Choice(["smoke", "full"]), default="full", show_default=True)
@click.option("--resume/--restart", default=True, show_default=True, help="Go on from an interrupted run.")
def train(recipe: str, out: Path, seeds: tuple[int, ...], budget: str, resume: bool) -> None:
    """Train RECIPE and write its checkpoint."""
    from training.run import train as run

    click.echo(f"checkpoint: {run(recipe, out, seeds, budget, resume)}")
