"""The model repository on disk: NAME/VERSION directories, found by name and loaded once verified."""

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from models.checkpoint import NAME_PATTERN, CheckpointError, Manifest, load, read_manifest, read_tensors
from models.deceptron import Deceptron
from physics.problem import Problem, UnknownProblem, load_problem


class UnknownCheckpoint(LookupError):
    """No checkpoint of that name, or not in that version; the message lists what there is."""


@dataclass(frozen=True)
class LoadedModel:
    """A verified checkpoint, ready to use: problem, Deceptron (f, g), stored calibration and examples."""

    manifest: Manifest
    problem: Problem
    deceptron: Deceptron
    calibration: dict[str, Tensor]
    examples: dict[str, Tensor]


@dataclass(frozen=True)
class Registry:
    """Checkpoints under one root directory. Reading is lazy: a broken checkpoint does not hide the others."""

    root: Path

    def names(self) -> list[str]:
        """Names with at least one version, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if entry.is_dir() and self.versions(entry.name))

    def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; empty for an unknown name. Names never leave the root directory."""
        directory = self.root / name
        if not re.fullmatch(NAME_PATTERN, name) or not directory.is_dir():
            return []
        return sorted(int(e.name) for e in directory.iterdir() if re.fullmatch("[1-9][0-9]*", e.name) and e.is_dir())

    def manifest(self, name: str, version: int | None = None) -> Manifest:
        """The manifest of a version, the newest unless given.

        Raises:
            UnknownCheckpoint: no such name or version.
            CheckpointError: there, but not to be used.
        """
        directory = self.directory(name, version)
        manifest = read_manifest(directory)
        if (manifest.name, str(manifest.version)) != (name, directory.name):
            raise CheckpointError(
                f"{directory}: the manifest says {manifest.name}/{manifest.version}; give the directory that name"
            )
        return manifest

    def load(self, name: str, version: int | None = None) -> LoadedModel:
        """Verifies and loads everything a checkpoint holds."""
        manifest = self.manifest(name, version)
        directory = self.directory(name, manifest.version)
        problem = _problem(directory, manifest)
        if (manifest.architecture.n, manifest.architecture.m) != (problem.n, problem.m):
            raise CheckpointError(
                f"{directory}: made for {manifest.architecture.n} unknowns and {manifest.architecture.m} observations, "
                f"but problem {problem.name!r} has {problem.n} and {problem.m}; retrain"
            )
        extras = {
            stem: read_tensors(directory, manifest, f"{stem}.safetensors")
            for stem in ("calibration", "examples")
            if f"{stem}.safetensors" in manifest.files
        }
        deceptron = load(directory, manifest, problem.forward)
        return LoadedModel(manifest, problem, deceptron, extras.get("calibration", {}), extras.get("examples", {}))

    def directory(self, name: str, version: int | None = None) -> Path:
        """Where a version lies, the newest unless given; raises UnknownCheckpoint."""
        versions = self.versions(name)
        if not versions:
            raise UnknownCheckpoint(f"no model named {name!r}; there are {', '.join(self.names()) or 'none'}")
        if version is not None and version not in versions:
            raise UnknownCheckpoint(
                f"model {name!r} has no version {version}; there are {', '.join(map(str, versions))}"
            )
        return self.root / name / str(versions[-1] if version is None else version)


def _problem(directory: Path, manifest: Manifest) -> Problem:
    try:
        return load_problem(manifest.problem)
    except UnknownProblem as error:
        raise CheckpointError(f"{directory}: {error}; install the package that has it") from error
