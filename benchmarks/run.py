"""``deceptron bench NAME``: runs benchmarks, prints their tables, writes them with figures and all rows behind them."""

import sys
from collections.abc import Callable
from pathlib import Path

import benchmarks.ablation
import benchmarks.deblur
import benchmarks.paper
import benchmarks.peers
import benchmarks.product
import benchmarks.scaling
import benchmarks.speed
import benchmarks.speed_buckets
import benchmarks.speed_memory
import benchmarks.speed_overlap
import benchmarks.speed_scaling
import benchmarks.speed_served
import benchmarks.trust
from benchmarks.measure import timed
from benchmarks.report import Report
from benchmarks.results import record
from benchmarks.setup import Setup
from benchmarks.sheet import paste
from models.registry import Registry

BENCHMARKS: dict[str, Callable[[Setup], Report]] = {
    "paper": benchmarks.paper.run,
    "product": benchmarks.product.run,
    "ablation": benchmarks.ablation.run,
    "scaling": benchmarks.scaling.run,
    "peers": benchmarks.peers.run,
    "trust": benchmarks.trust.run,
    "deblur": benchmarks.deblur.run,
    "speed-engine": benchmarks.speed.run,
    "speed-service": benchmarks.speed_served.run,
    "speed-scaling": benchmarks.speed_scaling.run,
    "speed-memory": benchmarks.speed_memory.run,
    "speed-overlap": benchmarks.speed_overlap.run,
    "speed-buckets": benchmarks.speed_buckets.run,
}

GROUPS = {
    "all": ("paper", "product", "ablation", "scaling", "peers", "trust"),
    "speed": ("speed-engine", "speed-service", "speed-scaling"),
}
"""Several by one name. Not in ``all``: photographs take their time, and speed wants the machine to itself."""


class UnknownBenchmark(LookupError):
    """No benchmark of that name; the message lists them."""


def main(
    name: str,
    out: Path | None,
    checkpoints: Path,
    items: int = 500,
    repeats: int = 3,
    quick: bool = False,
    cost_s: float = 1.0,
) -> None:
    """Runs one benchmark, or a group of them; tables go to standard output, progress and times to standard error.

    Args:
        out: a directory for NAME.md, NAME.json and the figures, gathered in OUT.md beside it; nothing is written
            without it.
    """
    if name not in BENCHMARKS | GROUPS:
        raise UnknownBenchmark(f"no benchmark named {name!r}; there are {', '.join(BENCHMARKS | GROUPS)}")
    setup = Setup(Registry(checkpoints), items, repeats, quick, cost_s)
    for each in GROUPS.get(name, (name,)):
        report, seconds = timed(lambda run=BENCHMARKS[each]: run(setup))  # type: ignore[misc]
        sys.stdout.write(report.markdown() + "\n")
        sys.stdout.flush()
        sys.stderr.write(f"bench {each}: {seconds:.0f} s\n")
        if out is not None:
            report.write(out, _drawn(report, out))
            record(report, seconds, out)


def _drawn(report: Report, out: Path) -> list[str]:
    """The files of the report's figures, once drawn; none, and a word on it, without matplotlib."""
    try:
        from benchmarks.plots import draw
    except ImportError as error:
        sys.stderr.write(f"bench {report.name}: no figures ({error}); pip install 'deceptron-service[bench]'\n")
        return []
    return draw(report.figures(), out) + [paste(picture, out) for picture in report.pictures()]
