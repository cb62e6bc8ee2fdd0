"""`deceptron demo`: one real observation through the whole path."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from service.cli.invert import KEY, solve
from service.cli.tables import plot, table
from service.client.flows import Asked, Options
from service.client.types import ClientError, Item
from service.demo import NAMES, NOISE_STD, TIMES_S, Example, displacement, identifiable, make_example

IDENTIFIABLE = ("c/m", "k/m", "x0", "v0")


DEMO_SEED, DEMO_MODEL = 7, "oscillator"


@click.command()
@click.option("--url", help="A running service; without it one is started for the occasion.")
@click.option("--local", is_flag=True, help="No service at all: do the work in this process.")
@click.option("--seed", default=DEMO_SEED, show_default=True, help="Which observation.")
@click.option("--model", default=DEMO_MODEL, show_default=True)
@KEY
def demo(url: str | None, local: bool, seed: int, model: str, key: str | None) -> None:
    """Invert one oscillation that SciPy integrated, and compare with the truth."""
    if url or local:
        show_demo(url, seed, model, key)
        return
    click.echo("starting a service of its own (API, worker, queue) ...")
    _with_own_service(lambda found: show_demo(found, seed, model))
    click.echo("stopped")


def show_demo(url: str | None, seed: int, model: str, key: str | None = None) -> None:
    """Solve the seed's observation at `url` (None: in this process) and print what came of it."""
    example = make_example(seed)
    started = time.perf_counter()
    result = solve(Asked(model, None, Options("product"), None), example.observation, "auto", url, key)
    took_s = time.perf_counter() - started
    item = result.items[0]
    if item.x is None:
        raise ClientError(item.error or "the observation could not be inverted")
    for line in _report(example, item, item.x):
        click.echo(line)
    solve_s = (result.timing.solve_s or 0.0) + (result.timing.diagnose_s or 0.0)
    where = url or "in this process"
    click.echo(f"time: {1000 * solve_s:.1f} ms solving and judging, {took_s:.2f} s in all ({where}, {result.device})")


def _with_own_service(show: Callable[[str], None]) -> None:
    """Start the whole service on a free port with a passing data directory, show, stop."""
    from service.logs import configure_logs
    from service.settings import load_settings
    from service.supervisor import serve

    def on_ready(url: str) -> bool:
        show(url)
        return False

    with tempfile.TemporaryDirectory(prefix="deceptron-demo-") as folder:
        settings = load_settings({"port": 0, "data_dir": Path(folder), "workers": 1, "log_level": "warning"})
        configure_logs(settings.log_level, "serve")
        serve(settings, on_ready)


def _report(example: Example, item: Item, x: np.ndarray) -> list[str]:
    """The plot, the parameters against the truth, and the verdict."""
    fitted = displacement(x)
    rows = [["", "truth", "found", "error"]]
    pairs = [*zip(NAMES, example.truth, x, strict=True)]
    pairs += [*zip(IDENTIFIABLE[:2], identifiable(example.truth)[:2], identifiable(x)[:2], strict=True)]
    rows += [[name, f"{truth:.4f}", f"{found:.4f}", f"{found - truth:+.4f}"] for name, truth, found in pairs]
    residual = _rms(fitted - example.observation)
    error, determined = x - example.truth, identifiable(x) - identifiable(example.truth)
    return [
        f"A damped oscillation, {TIMES_S.size} samples on [0, 5] s by scipy.integrate.solve_ivp, noise {NOISE_STD}:",
        *plot(example.observation, fitted),
        "        o observed, + motion of the reconstruction, * both",
        "",
        *table(rows),
        "",
        f"error in x: {_rms(error):.4f} RMS over {', '.join(NAMES)} (m, c, k: only up to a common factor)",
        f"error in what the data determine ({', '.join(IDENTIFIABLE)}): {_rms(determined):.4f} RMS",
        f"misfit of the reconstruction, integrated by SciPy: {residual:.4f} = {residual / NOISE_STD:.2f} x noise",
        *_judgement(item),
    ]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _judgement(item: Item) -> list[str]:
    lines = [f"solved by {item.solved_by} in {item.iterations} iterations ({item.status})"]
    scores = item.diagnostics
    if scores is None:
        return lines
    rjcp = "-" if scores.rjcp is None else f"{scores.rjcp:.4g}"
    reasons = f" ({', '.join(scores.reasons)})" if scores.reasons else ""
    return [*lines, f"RJCP {rjcp}, verdict: {scores.verdict}{reasons}"]
