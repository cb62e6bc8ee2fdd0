"""Fuzzing that follows the coverage of our readers (atheris): python -m tests.fuzz.guided KIND --seconds 30.

Optional: `pip install atheris` where there is a wheel of it. One kind a process, for it never returns: the exit code
is 0 when the time is up, and an input that raised is written to ``--found``.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

READERS = ["models.checkpoint", "service.arrays", "service.images", "service.protocols.open_inference"]


def here() -> bool:
    """Whether atheris is installed."""
    return find_spec("atheris") is not None


def run(kind: str, seconds: int, timeout_s: float = 600.0) -> tuple[int, str]:
    """Fuzzes the reader of one kind for so long: how many inputs were tried, and what was found ('' is nothing)."""
    with tempfile.TemporaryDirectory(prefix="deceptron-guided-") as folder:
        words = [sys.executable, "-m", "tests.fuzz.guided", kind, "--seconds", str(seconds), "--found", folder]
        ran = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
    done = [line.split()[1] for line in ran.stderr.splitlines() if line.startswith("Done ")]
    if ran.returncode == 0 and done:
        return int(done[0]), ""
    told = [line for line in ran.stderr.splitlines() if "Error" in line or "ERROR" in line]
    return 0, f"guided {kind}: {' | '.join(told[-3:])[:300] or f'ended with {ran.returncode}'}"


def fuzz(kind: str, seconds: int, found: Path) -> None:
    """Never returns."""
    import atheris

    with atheris.instrument_imports(include=READERS):
        from tests.fuzz.bodies import seeds
        from tests.fuzz.targets import accepts
    corpus, folder = found / "corpus", found / "files"
    corpus.mkdir()
    folder.mkdir()
    for number, body in enumerate(seeds(kind)):
        (corpus / f"seed{number}").write_bytes(body)

    def read(data: bytes) -> None:
        accepts(kind, data, folder)

    options = [f"-max_total_time={seconds}", f"-artifact_prefix={found}/", "-timeout=60", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--found", type=Path, required=True)
    given = parser.parse_args()
    fuzz(given.kind, given.seconds, given.found)
