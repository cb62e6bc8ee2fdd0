"""Images, compose file and cluster manifests, as far as they can be checked without a container engine."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from compose_spec import PyCompose
from kubernetes_validate import validate
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service.queue.keys import GROUP, Keys
from service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
MANIFESTS = sorted((ROOT / "docker" / "kubernetes").glob("*.yaml"))
FOREIGN = {"Kustomization", "ScaledObject"}  # kinds that the cluster itself does not have
TAGGED = re.compile(r"[a-z/]+:v?\d+\.\d+[\w.-]*|deceptron:(cpu|cuda)")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, its YAML merges resolved."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def resources() -> list[dict[str, Any]]:
    """Every resource of every manifest."""
    return [found for path in MANIFESTS for found in yaml.safe_load_all(path.read_text())]


def containers() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, pod spec, container) of everything that runs in the cluster."""
    specs = [
        (r["metadata"]["name"], r["spec"]["template"]["spec"]) for r in resources() if "template" in r.get("spec", {})
    ]
    return [(name, spec, container) for name, spec in specs for container in spec["containers"]]


def test_the_linter_finds_nothing_in_the_dockerfile() -> None:
    ran = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "--no-color", DOCKERFILE], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_linter_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN apt-get install curl\n")
    ran = subprocess.run(
        [Path(sys.executable).parent / "hadolint", tmp_path / "Dockerfile"], capture_output=True, text=True
    )
    assert ran.returncode == 1


def test_compose_keeps_the_specification(compose: dict[str, Any]) -> None:
    PyCompose.from_yaml(yaml.safe_dump(compose)).validate()
    with pytest.raises(ValueError, match="restarts"):
        PyCompose.from_yaml("services: {api: {image: a, restarts: always}}")


def test_compose_has_a_worker_for_each_profile_that_scales(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["worker"]["profiles"] == ["cpu"]
    assert services["worker-gpu"]["profiles"] == ["gpu"]
    for name in ("worker", "worker-gpu"):
        assert not {"container_name", "ports"} & set(services[name])
    assert "profiles" not in services["api"]


def test_compose_services_are_locked_down(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert TAGGED.fullmatch(service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_compose_keeps_keys_where_the_image_may_read_them(compose: dict[str, Any]) -> None:
    """A secret from a file comes with the file's owner and mode: a private one is closed to the image's user."""
    for name in ("api", "worker", "worker-gpu"):
        service = compose["services"][name]
        assert "secrets" not in service, name
        assert "DECEPTRON_KEYS_FILE" not in service["environment"], name
        assert "data:/var/lib/deceptron" in service["volumes"], name


@pytest.mark.parametrize("resource", resources(), ids=lambda r: f"{r['kind']}-{r.get('metadata', {}).get('name', '')}")
def test_manifests_keep_the_cluster_schema(resource: dict[str, Any]) -> None:
    if resource["kind"] not in FOREIGN:
        assert validate(resource, "1.31", strict=True)


def test_the_schema_refuses_what_is_wrong() -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"portz": []}}
    with pytest.raises(Exception, match="portz"):
        validate(wrong, "1.31", strict=True)


def test_kustomization_names_every_manifest() -> None:
    (listed,) = (r["resources"] for r in resources() if r["kind"] == "Kustomization")
    assert sorted(listed) == [path.name for path in MANIFESTS if path.name != "kustomization.yaml"]


def test_the_scaler_watches_the_queue() -> None:
    (resource,) = (r for r in resources() if r["kind"] == "ScaledObject")
    scaled = ScaledObject.model_validate(resource)
    assert scaled.spec is not None
    (trigger,) = scaled.spec.triggers
    assert trigger.type == "redis-streams"
    assert trigger.metadata["stream"] == Keys().stream
    assert trigger.metadata["consumerGroup"] == GROUP
    deployments = [r["metadata"]["name"] for r in resources() if r["kind"] == "Deployment"]
    assert scaled.spec.scale_target_ref.name in deployments


def test_nothing_in_the_cluster_is_root_or_writes_its_root() -> None:
    assert {name for name, _, _ in containers()} == {"api", "worker", "redis"}
    for name, pod, container in containers():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert not pod["automountServiceAccountToken"], name
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
        assert "memory" in container["resources"]["limits"], name


def test_every_variable_is_a_setting(compose: dict[str, Any]) -> None:
    known = {"REDIS_URL", *(PREFIX + name.upper() for name in Settings.model_fields)}
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+\b(?==)", DOCKERFILE.read_text()))
    for service in compose["services"].values():
        named |= set(service.get("environment", {}))
    for _, _, container in containers():
        named |= {variable["name"] for variable in container.get("env", [])}
    assert len(named) >= 6
    assert named <= known


def test_both_prometheus_files_say_the_same_but_for_the_key() -> None:
    plain, keyed = (
        yaml.safe_load((ROOT / "docker/prometheus" / name).read_text())
        for name in ("prometheus.yml", "prometheus-with-key.yml")
    )
    api, worker = keyed["scrape_configs"]
    assert api.pop("authorization") == worker["http_sd_configs"][0].pop("authorization")
    assert keyed == plain


# ------------------------------------------------------------------------------------ what the image is made of


def copied() -> list[str]:
    """What the Dockerfile copies from the source tree."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    return [source for line in lines for source in line.split()]


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path into the build."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    return any(fnmatch(path, pattern) or path.startswith(f"{pattern}/") for pattern in allowed)


def test_all_that_is_copied_is_in_the_build_context() -> None:
    assert "service" in copied()
    for source in copied():
        assert in_context(source.replace("${VARIANT}", "cpu")), source
    for kept_out in (".git", ".venv", "data", "tests", "keys.json"):
        assert not in_context(kept_out)


def locked(*names: str) -> dict[str, str]:
    """Package -> version of lock files together; every entry has its hash, and no package stands in two of them."""
    text = "".join((ROOT / f"docker/{name}.lock").read_text() for name in names)
    pinned = re.findall(r"^([a-z0-9._-]+)==(\S+)(?: ;.*)? \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(dict(pinned)) == len(pinned) == len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE))
    assert "://" not in text
    return dict(pinned)


@pytest.mark.parametrize(
    ("variant", "extra", "torch"), [("cpu", "cpu", "cpu"), ("cpu", "cpu", "cuda"), ("cuda", "gpu", "cuda")]
)
def test_the_locks_pin_all_that_the_image_needs(variant: str, extra: str, torch: str) -> None:
    pinned = locked(f"requirements-{variant}", f"torch-{torch}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [w for e in ("server", extra) for w in project["optional-dependencies"][e]]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is not in the locks: run `make lock`"
        assert requirement.specifier.contains(pinned[name]), name


def test_the_slim_image_has_no_cuda_in_it() -> None:
    pinned = locked("requirements-cpu", "torch-cpu")
    assert pinned["torch"].endswith("+cpu")
    assert [name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))] == []
    assert set(locked("torch-cuda")) >= {"torch", "triton", "nvidia-cublas"}


@pytest.mark.parametrize(
    ("variant", "index", "torch", "asked"),
    [
        ("cpu", "", "cuda", False),
        ("cpu", "https://wheels.example/cpu", "cpu", True),
        ("cuda", "https://x.example", "cuda", False),
    ],
)
def test_the_build_takes_the_torch_that_it_can_have(
    tmp_path: Path, variant: str, index: str, torch: str, asked: bool
) -> None:
    """The RUN that installs the locks, as it stands in the Dockerfile, with a pip that only tells what it was asked."""
    (tmp_path / "pip").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "pip").chmod(0o755)
    runs = re.findall(r"^RUN (.*?[^\\])$", DOCKERFILE.read_text(), re.MULTILINE | re.DOTALL)
    (install,) = (run.replace("\\\n", "") for run in runs if "torch-cpu.lock" in run)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VARIANT": variant, "TORCH_INDEX": index}
    ran = subprocess.run(["sh", "-euc", install], env=env, capture_output=True, text=True, check=True)
    first, second = ran.stdout.splitlines()
    assert first.endswith(f"--requirement torch-{torch}.lock")
    assert ("--index-url" in first) == asked
    assert second.endswith("--requirement requirements.lock")
    assert all(line.startswith("install --require-hashes --no-deps ") for line in (first, second))


@pytest.mark.slow
def test_what_is_copied_installs_and_runs(tmp_path: Path) -> None:
    """The last RUN of the build stage, in a folder with nothing but what the image has."""
    source, site = tmp_path / "src", tmp_path / "site"
    source.mkdir()
    for name in copied():
        found = ROOT / name
        if found.is_dir() and name != "checkpoints":
            shutil.copytree(found, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif found.is_file():
            shutil.copy(found, source)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "--target",
        str(site),
        ".",
    ]
    subprocess.run(pip, cwd=source, check=True, timeout=500)
    data = {p.relative_to(source) for p in (source / "service").rglob("*") if p.is_file() and p.suffix != ".py"}
    assert data
    assert not [path for path in data if not (site / path).exists()]
    env = {**os.environ, "PYTHONPATH": str(site), "DECEPTRON_CHECKPOINTS": str(ROOT / "checkpoints")}
    command = [
        sys.executable,
        "-c",
        "import service; print(service.__file__); from service.cli import main; main()",
        "models",
    ]
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(site))
    assert "heat1d" in ran.stdout
