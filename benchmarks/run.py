"""``deceptron bench NAME``: runs a benchmark, prints its tables, and writes them with every row behind them."""

import sys
from pathlib import Path

import benchmarks.paper
import benchmarks.product
from benchmarks.setup import Setup
from models.registry import Registry

BENCHMARKS = {"paper": benchmarks.paper.run, "product": benchmarks.product.run}


class UnknownBenchmark(LookupError):
    """No benchmark of that name; the message lists them."""


def main(name: str, out: Path | None, checkpoints: Path, items: int = 500, repeats: int = 3) -> None:
    """Runs one benchmark, or ``all``; tables go to standard output, progress to standard error.

    Args:
        out: a directory for NAME.md and NAME.json; nothing is written without it.
    """
    if name not in (*BENCHMARKS, "all"):
        raise UnknownBenchmark(f"no benchmark named {name!r}; there are {', '.join([*BENCHMARKS, 'all'])}")
    setup = Setup(Registry(checkpoints), items, repeats)
    for each in BENCHMARKS if name == "all" else (name,):
        report = BENCHMARKS[each](setup)
        sys.stdout.write(report.markdown() + "\n")
        if out is not None:
            report.write(out)
