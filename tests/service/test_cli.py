"""The command line, as a user runs it."""

import io
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from service.arrays import decode_npy, encode_npy
from service.cli.files import read_observations
from service.errors import InvalidInput
from tests.service.conftest import DECEPTRON, ROOT, Service


def deceptron(*words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    ran = subprocess.run([*DECEPTRON, *words], cwd=ROOT, input=stdin, capture_output=True, timeout=500)
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


@pytest.fixture
def file(tmp_path: Path, observations: np.ndarray) -> Path:
    """An npy file of thirty observations."""
    path = tmp_path / "observations.npy"
    np.save(path, observations[:30])
    return path


def test_invert_through_a_service(service: Service, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npy"
    code, said, complaints = deceptron("invert", "oscillator", str(file), "--url", service.url, "--out", str(out))
    assert (code, complaints) == (0, "")
    assert "verdict" in said.splitlines()[0]
    assert "... and 10 more" in said
    assert re.search(r"\d+ in_range", said)
    assert decode_npy(out.read_bytes()).shape == (30, 5)


def test_in_process_and_service_agree(service: Service, observation: np.ndarray, tmp_path: Path) -> None:
    here, there = tmp_path / "here.npy", tmp_path / "there.npy"
    words = ["invert", "oscillator", "-", "--method", "lm", "--uncertainty", "--out"]
    stdin = encode_npy(observation)
    code, said, _ = deceptron(*words, str(here), stdin=stdin)
    assert code == 0
    assert re.search(r"\n\s*0\s+converged\s+lm\s", said), said
    assert deceptron(*words, str(there), "--url", service.url, stdin=stdin)[0] == 0
    np.testing.assert_allclose(np.load(here), np.load(there), rtol=1e-5, atol=1e-6)
    bars = [np.load(tmp_path / f"{name}.std.npy") for name in ("here", "there")]
    np.testing.assert_allclose(*bars, rtol=1e-3)
    assert bars[0].shape == (1, 5)
    assert "say where" in deceptron(*words[:-1], stdin=stdin)[2]


def test_csv_goes_in_and_comes_out(service: Service, observations: np.ndarray, tmp_path: Path) -> None:
    """A header, semicolons, a version: the same answer as from the npy file."""
    names = ";".join(f"t{i}" for i in range(64))
    rows = "\n".join(";".join(f"{value:.17g}" for value in row) for row in observations[:3])
    (tmp_path / "y.csv").write_text(f"{names}\n{rows}\n")
    np.save(tmp_path / "y.npy", observations[:3])
    words = ["--url", service.url, "--version", "1", "--uncertainty", "--out"]
    for kind in ("csv", "npy"):
        out = str(tmp_path / f"x.{kind}")
        code, _, complaints = deceptron("invert", "oscillator", str(tmp_path / f"y.{kind}"), *words, out)
        assert (code, complaints) == (0, "")
    for name in ("x", "x.std"):
        found = np.loadtxt(tmp_path / f"{name}.csv", delimiter=",")
        np.testing.assert_allclose(found, np.load(tmp_path / f"{name}.npy"), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b"1,2\n3,4\n", [[1, 2], [3, 4]]),
        (b"\xef\xbb\xbfa b\n1 2e-3\n", [[1, 2e-3]]),
        (b"1\n2\n\n3\n", [[1, 2, 3]]),
        (b"y\r\n1,\r\n2,\r\n", [[1, 2]]),
    ],
)
def test_text_is_read_as_the_console_reads_it(text: bytes, rows: list[list[float]]) -> None:
    np.testing.assert_array_equal(read_observations(text, "y.csv"), rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"1,2\n3,x\n", "row 2 holds 'x', which is not a number"),
        (b"1,2\n3\n", "row 2 has 1 numbers, the first has 2"),
        (b"1,nan\n", "is NaN"),
        (b"\xff\xfe1", "neither a .npy file nor text"),
        (b"", "is empty"),
    ],
)
def test_text_that_cannot_be_read_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)):
        read_observations(text, "y.csv")


def test_models(service: Service) -> None:
    code, said, _ = deceptron("models", "--url", service.url)
    assert code == 0
    assert re.search(r"oscillator\s+\d+\s+oscillator\s+5\s+64\s+auto", said), said


def test_demo(service: Service) -> None:
    code, said, _ = deceptron("demo", "--url", service.url)
    assert code == 0
    for expected in ("o observed", "c/m", "error in x", "x noise", "RJCP", "verdict", "iterations", "time:"):
        assert expected in said


def test_version_and_help() -> None:
    assert deceptron("--version")[0] == 0
    code, said, _ = deceptron("--help")
    assert code == 0
    assert {"serve", "api", "worker", "invert", "demo", "models", "bench", "train"} <= set(said.split())


def test_a_service_s_refusal_is_one_sentence(service: Service) -> None:
    code, _, complaints = deceptron("invert", "oscillator", "-", "--url", service.url, stdin=encode_npy(np.zeros(3)))
    assert code == 1
    assert complaints.startswith("Error: 422 Invalid input: observations: 3 values")
    assert len(complaints.splitlines()) == 1


def not_an_array() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


FAILURES: dict[str, tuple[list[str], bytes, int, str]] = {
    "no such model": (["invert", "heat17d", "-"], encode_npy(np.zeros(64)), 1, "heat17d"),
    "not an array": (["invert", "oscillator", "-"], not_an_array(), 1, "npy"),
    "no such file": (["invert", "oscillator", "nowhere.npy"], b"", 2, "nowhere.npy"),
    "no such version": (["invert", "oscillator", "-", "--version", "77"], encode_npy(np.zeros(64)), 1, "77"),
    "no such method": (["invert", "oscillator", "-", "--method", "magic"], b"", 2, "magic"),
    "no such command": (["levitate"], b"", 2, "levitate"),
    "no such recipe": (["train", "levitation"], b"", 2, "levitation"),
    "nobody there": (["models", "--url", "http://127.0.0.1:9"], b"", 1, "no answer"),
    "an api without a queue": (["api"], b"", 78, "REDIS_URL"),
    "a worker without a queue": (["worker"], b"", 78, "REDIS_URL"),
    "a wrong port": (["serve", "--port", "99999"], b"", 2, "port"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, stdin, expected, mentioned = FAILURES[name]
    monkeypatch.delenv("REDIS_URL", raising=False)
    code, said, complaints = deceptron(*words, stdin=stdin)
    assert code == expected, complaints
    assert said == ""
    assert "Traceback" not in complaints
    last = complaints.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert mentioned in last
