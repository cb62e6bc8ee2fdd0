"""`make fuzz`: a live service under generated requests and broken bodies; the report is docs/results/fuzz.md."""

import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import httpx

from service.security.keys import add_key
from tests.fuzz import guided
from tests.fuzz.bodies import mutated
from tests.fuzz.targets import TARGETS, accepts
from tests.service.conftest import ROOT, Service, start_service, stop_service

FUZZ = Path(__file__).parent
ALL_PHASES = "examples,coverage,fuzzing,stateful"
POSTING = 4  # posts at the same time
OPERATIONS = 30  # a little fewer than the service has: schemathesis counts its examples per operation
# A short queue: what is accepted is solved, and a queue that is full answers 429 after the body has been read.
SETTINGS = {"DECEPTRON_MAX_QUEUED_ITEMS": "2000", "DECEPTRON_RATE_PER_S": "0"}
JSON = {"content-type": "application/json"}
POSTS = {
    "npy": ("/invert?model=oscillator&method=oneshot", {"content-type": "application/x-npy"}, 4),
    "invert JSON": ("/invert", JSON, 2),
    "V2 JSON": ("/v2/models/oscillator/infer", JSON, 1),
    "deblur JSON": ("/deblur", JSON, 1),
    "PNG": ("/deblur?sigma=1&method=wiener", {"content-type": "image/png"}, 1),
    "TIFF": ("/deblur?sigma=1&method=wiener", {"content-type": "image/tiff"}, 1),
}
"""Kind of body -> where it goes, and its share of all posts."""
_MEANT = """A finding is an answer of 500 or above, an answer that /openapi.json does not declare (status, media type,
schema, headers), an exception that is not the reader's own refusal, an error in the log, a process that died."""


@dataclass
class Findings:
    """What was sent, what came back, and what should not have."""

    rows: list[tuple[str, str, int, str]] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    def add(self, what: str, how: str, count: int, answers: Counter[str]) -> None:
        told = ", ".join(f"{name}: {answers[name]}" for name in sorted(answers))
        self.rows.append((what, how, count, told))
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {what}: {count} ({told})\n")
        sys.stdout.flush()


@contextmanager
def watched(found: Findings, folder: Path) -> Iterator[Service]:
    """A service; when it is left, none of its processes may have died, and its log may hold no error."""
    folder.mkdir(parents=True, exist_ok=True)
    own = start_service(folder, "--workers", "1", start_s=600, **SETTINGS)
    before = own.children()
    try:
        yield own
        if own.children() != before:
            found.bad.append(f"processes died: {before} became {own.children()}")
        if httpx.get(f"{own.url}/health/ready", timeout=60, trust_env=False).status_code != 200:
            found.bad.append("the service is not ready afterwards")
    finally:
        stop_service(own, timeout_s=60)
    errors = [line for line in own.log.read_text().splitlines() if '"level":"error"' in line]
    found.bad += [f"in the log: {line[:300]}" for line in errors[:20]]


def schemathesis(
    found: Findings, own: Service, cases: int, key: str | None, seed: int, phases: str = ALL_PHASES
) -> None:
    """Requests made from /openapi.json, answers held against it; with a key the path parameters name real things."""
    config = ["--config-file", str(FUZZ / "schemathesis.toml")] if key else []
    words = [sys.executable, "-m", "schemathesis.cli", *config, "run", f"{own.url}/openapi.json", "--seed", str(seed)]
    words += [
        "--max-examples",
        str(max(1, cases // OPERATIONS)),
        "--continue-on-failure",
        "--no-shrink",
        "--phases",
        phases,
    ]
    # Whether a body that fits the schema is accepted depends on more than a schema can say (lengths, known models);
    # DELETE of a job cancels it, and what was cancelled is there to be looked at until it expires.
    words += ["--exclude-checks", "positive_data_acceptance,negative_data_rejection,use_after_free"]
    words += ["--request-timeout", "120", "--suppress-health-check", "too_slow"]
    words += ["-H", f"Authorization: Bearer {key}"] if key else []
    ran = subprocess.run(words, cwd=own.log.parent, capture_output=True, text=True, check=False)
    generated = re.search(r"(\d+) generated", ran.stdout)
    count = int(generated[1]) if generated else 0
    failed = re.findall(r"❌ (ST\d+ .*)", ran.stdout)
    found.add("schemathesis", "with a key" if key else "without keys", count, Counter({"failed checks": len(failed)}))
    if ran.returncode != 0 or not generated:
        found.bad += failed or [f"schemathesis ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-500:]}"]


def post_bodies(found: Findings, own: Service, count: int, seed: int) -> None:
    """Broken bodies over HTTP."""
    with httpx.Client(base_url=own.url, timeout=120, trust_env=False) as http:
        known = http.get("/openapi.json").json()["paths"]
        posts = {
            kind: post for kind, post in POSTS.items() if post[0].split("?")[0].replace("oscillator", "{name}") in known
        }
        shares = sum(share for _, _, share in posts.values())
        for kind, (path, headers, share) in posts.items():
            n = count * share // shares
            todo = [(kind, path, headers, f"{seed} {kind} {i}") for i in range(n)]
            with ThreadPoolExecutor(POSTING) as pool:
                answers = Counter(pool.map(partial(_post, found, http), todo))
            found.add(kind, f"POST {path.split('?')[0]}", n, answers)


def _post(found: Findings, http: httpx.Client, what: tuple[str, str, dict[str, str], str]) -> str:
    kind, path, headers, seed = what
    body = mutated(kind, Random(seed))
    try:
        status = http.post(path, content=body, headers=headers).status_code
    except httpx.TransportError as error:
        found.bad.append(f"{type(error).__name__} for {kind}: {body[:200]!r}")
        return "no answer"
    if status >= 500:
        found.bad.append(f"{status} for {kind}: {body[:200]!r}")
    return str(status)


def read_bodies(found: Findings, count: int, seed: int) -> None:
    """Broken bodies, handed to their readers directly."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in TARGETS:
            answers: Counter[str] = Counter()
            random = Random(f"{seed} {kind}")
            for _ in range(count // len(TARGETS)):
                body = mutated(kind, random)
                answers[_read(found, kind, body, Path(folder))] += 1
            found.add(kind, "read directly", count // len(TARGETS), answers)


def _read(found: Findings, kind: str, body: bytes, folder: Path) -> str:
    try:
        return "taken" if accepts(kind, body, folder) else "refused"
    except Exception as error:  # that is what is looked for
        found.bad.append(f"{type(error).__name__} for {kind}: {body[:200]!r}")
        return "raised"


def follow_coverage(found: Findings, seconds: int) -> None:
    """Inputs that atheris makes from the coverage of our readers; told where it is not installed."""
    if not guided.here():
        found.add("guided by coverage", "not run: atheris is not installed", 0, Counter())
        return
    for kind in TARGETS if seconds else ():
        count, wrong = guided.run(kind, seconds)
        found.add("guided by coverage", f"{kind}, {seconds} s", count, Counter({"findings": int(bool(wrong))}))
        found.bad += [wrong] if wrong else []


def report(found: Findings, command: str, took_s: float) -> str:
    """The Markdown of docs/results/fuzz.md."""
    requests = sum(count for what, _, count, _ in found.rows if what == "schemathesis")
    made = sum(count for what, _, count, _ in found.rows if what == "guided by coverage")
    bodies = sum(count for _, _, count, _ in found.rows) - requests - made
    lines = ["# Fuzzing", "", f"Written by `{command}` ({took_s / 60:.0f} min on two shared cores).", ""]
    lines += [
        f"{requests} generated requests, {bodies} broken bodies, {made} inputs guided by coverage, "
        f"{len(found.bad)} findings.",
        "",
        *_MEANT.splitlines(),
    ]
    lines += ["", "| what | how | count | answers |", "|---|---|---|---|"]
    lines += [f"| {what} | {how} | {count} | {told} |" for what, how, count, told in sorted(found.rows)]
    lines += ["", "## Findings", "", *(f"- `{text}`" for text in found.bad[:50] or ["none"])]
    return "\n".join(lines) + "\n"


def _open(found: Findings, folder: Path, bodies: int, cases: int, seed: int) -> None:
    with watched(found, folder) as own:
        post_bodies(found, own, bodies, seed)
        schemathesis(found, own, cases, None, seed)


def _guarded(found: Findings, folder: Path, cases: int, seed: int) -> None:
    key = add_key(folder / "data" / "keys.json", "fuzz", ["submit", "read"])
    with watched(found, folder) as own:
        schemathesis(found, own, cases, key, seed)


def main(cases: int, bodies: int, guided_s: int, seed: int, out: Path, command: str) -> int:
    """Runs it all; 0 when there was no finding."""
    warnings.simplefilter("ignore")  # Pillow's, of what it then refuses
    found, started = Findings(), time.monotonic()
    over_http, direct = bodies // 5, bodies - bodies // 5
    with tempfile.TemporaryDirectory(prefix="deceptron-fuzz-") as name, ThreadPoolExecutor(3) as pool:
        parts = (
            pool.submit(_open, found, Path(name) / "open", over_http, cases // 2, seed),
            pool.submit(_guarded, found, Path(name) / "guarded", cases // 2, seed),
            pool.submit(read_bodies, found, direct, seed),
        )
        for part in parts:
            part.result()
    follow_coverage(found, guided_s)
    out.write_text(report(found, command, time.monotonic() - started))
    sys.stdout.write(f"{len(found.bad)} findings; report: {out}\n")
    return 1 if found.bad else 0


OUT = ROOT / "docs" / "results" / "fuzz.md"
