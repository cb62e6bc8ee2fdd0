"""`deceptron invert` and `deceptron models`."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from service.cli.complete import model_names
from service.cli.files import read_observations, write_array
from service.cli.tables import item_rows, table
from service.client import Comparison, Result, Retries
from service.client.flows import Asked, Options

METHODS = ("auto", "dipg", "gn", "lm", "gd", "lbfgs", "oneshot")
SHOWN = 20
KEY = click.option("--key", help="API key for --url; better kept in DECEPTRON_API_KEY.")
RETRIES = Retries(attempts=3)  # somebody is watching: say soon that nobody answers


@click.command()
@click.argument("model", shell_complete=model_names)
@click.argument("file", type=click.File("rb"))
@click.option("--method", type=click.Choice(METHODS), default="auto", show_default=True)
@click.option("--version", type=click.IntRange(1), help="A version of the model.  [the newest]")
@click.option("--preset", type=click.Choice(["product", "paper"]), help="The rules.  [the model's own]")
@click.option("--uncertainty", is_flag=True, help="Write error bars beside --out, as .std.npy or .std.csv.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the reconstructions there: .csv, else npy."
)
@click.option("--url", help="A running service; without it the work is done in this process.")
@KEY
def invert(
    model: str,
    file: Any,
    method: str,
    version: int | None,
    preset: str | None,
    uncertainty: bool,
    out: Path | None,
    url: str | None,
    key: str | None,
) -> None:
    """Reconstruct what lies behind the observations in FILE (npy, m or B x m, or CSV; - reads standard input)."""
    if uncertainty and out is None:
        raise click.UsageError("--uncertainty writes error bars beside --out; say where")
    observations = read_observations(file.read(), file.name)
    asked = Asked(model, version, Options(preset, uncertainty=uncertainty or None), None)
    result = solve(asked, observations, method, url, key)
    for line in table(item_rows(result.items[:SHOWN])):
        click.echo(line)
    if len(result.items) > SHOWN:
        click.echo(f"... and {len(result.items) - SHOWN} more")
    click.echo(summary(result))
    if out is not None:
        write_array(out, result.x)
        click.echo(f"reconstructions: {out}")
    if out is not None and uncertainty:
        bars = out.with_suffix(".std.csv" if out.suffix == ".csv" else ".std.npy")
        write_array(bars, error_bars(result))
        click.echo(f"error bars: {bars}")


@click.command()
@click.option("--url", help="A running service; without it the local checkpoints are listed.")
@KEY
def models(url: str | None, key: str | None) -> None:
    """List the models."""
    rows = [["model", "version", "problem", "unknowns", "values per observation", "methods"]]
    rows += [[card["name"], card["version"], *_about(card), " ".join(card["methods"])] for card in _cards(url, key)]
    for line in table(rows):
        click.echo(line)


def _about(card: dict[str, Any]) -> tuple[str, str, str]:
    """Problem, unknowns and values per observation; a network for images takes any size."""
    if card.get("kind") == "network":
        return "deblur", "an image", "an image"
    return card["problem"], *(_shape_text(card[part]["shape"]) for part in ("unknown", "observation"))


def solve(asked: Asked, observations: np.ndarray, method: str, url: str | None, key: str | None = None) -> Result:
    """Through the service at `url`, or in this process."""
    result: Result | Comparison
    if url is not None:
        from service.client import Client

        with Client(url, key=key, retries=RETRIES) as client:
            return client.invert(asked.model, observations, version=asked.version, method=method, options=asked.options)
    from service.cli.local import invert_locally

    query = asked.document()
    given = {**query.pop("options"), **query, "method": method}
    words = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
    result = invert_locally(observations, words)
    if not isinstance(result, Result):
        raise TypeError("an inversion gave a comparison")
    return result


def error_bars(result: Result) -> np.ndarray:
    """One standard deviation of every unknown (B, n); rows of NaN where there is no answer."""
    missing = np.full(result.x.shape[1], np.nan)
    found = (item.diagnostics.std if item.diagnostics else None for item in result.items)
    return np.array([missing if std is None else std for std in found])


def summary(result: Result) -> str:
    """One line: how many of which verdict, how long it took, where."""
    counts: dict[str, int] = {}
    for verdict in result.verdicts:
        counts[verdict or "failed"] = counts.get(verdict or "failed", 0) + 1
    verdicts = ", ".join(f"{count} {name}" for name, count in counts.items())
    took_s = (result.timing.solve_s or 0.0) + (result.timing.diagnose_s or 0.0)
    return f"{verdicts}; {1000 * took_s:.1f} ms for {len(result.items)} on {result.device} ({result.engine})"


def _cards(url: str | None, key: str | None) -> list[dict[str, Any]]:
    if url is not None:
        from service.client import Client

        with Client(url, key=key, retries=RETRIES) as client:
            return client.models()
    from service.cli.local import open_inference
    from service.deblurring.networks import Networks

    inference = open_inference()
    networks = Networks(inference.registry.root, inference.device, engine="torch")
    cards = [inference.card(manifest.name, manifest.version) for manifest in inference.manifests()]
    return cards + [networks.card(name) for name in networks.names()]


def _shape_text(shape: Any) -> str:
    return " x ".join(str(size) for size in shape)
