"""The model repository on disk: NAME/VERSION directories, found by name and loaded once verified."""

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from models.checkpoint import (
    NAME_PATTERN,
    AnyManifest,
    CheckpointError,
    Manifest,
    NetworkManifest,
    Record,
    kind_of,
    load,
    load_network,
    read_graphs,
    read_manifest,
    read_network_manifest,
    read_tensors,
)
from models.deceptron import Deceptron
from models.deceptronnet import ImageNetwork
from physics.problem import Problem, UnknownProblem, load_problem

SETTLED_NS = 2 * 10**9


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
    graphs: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedNetwork:
    """A verified image network, ready to use, with its stored calibration."""

    manifest: NetworkManifest
    network: ImageNetwork
    calibration: dict[str, Tensor]
    graphs: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Registry:
    """Checkpoints under one root directory. Reading is lazy: a broken checkpoint does not hide the others."""

    root: Path
    _seen: dict[str, tuple[int, list[int]]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def names(self) -> list[str]:
        """Names of Deceptrons with at least one version, sorted; checkpoints that cannot be read are among them."""
        return [name for name in self._all() if self._newest_kind(name) == "deceptron"]

    def networks(self) -> list[str]:
        """Names of image networks with at least one version, sorted."""
        return [name for name in self._all() if self._newest_kind(name) == "network"]

    def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; empty for an unknown name. Names never leave the root directory.

        A folder is listed again when it has changed: every request asks.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            return []
        directory = f"{self.root}/{name}"
        try:
            changed = os.stat(directory).st_mtime_ns
            at, versions = self._seen.get(name, (None, []))
            if at != changed:
                versions = _versions_in(directory)
                # What has just changed may change again within the same tick of the file system's clock.
                if time.time_ns() - changed > SETTLED_NS:
                    self._seen[name] = changed, versions
        except OSError:  # there is none
            return []
        return list(versions)

    def manifest(self, name: str, version: int | None = None) -> Manifest:
        """The manifest of a version, the newest unless given.

        Raises:
            UnknownCheckpoint: no Deceptron of that name or version.
            CheckpointError: there, but not to be used.
        """
        directory = self.directory(name, version)
        if kind_of(directory) == "network":
            raise UnknownCheckpoint(f"{name!r} is a network for images, not a Deceptron; deblur with it")
        return _named(directory, read_manifest(directory))

    def network_manifest(self, name: str, version: int | None = None) -> NetworkManifest:
        """The same for an image network."""
        directory = self.directory(name, version)
        if kind_of(directory) == "deceptron":
            raise UnknownCheckpoint(
                f"{name!r} is not a network for images; there are {', '.join(self.networks()) or 'none'}"
            )
        return _named(directory, read_network_manifest(directory))

    def load(self, name: str, version: int | None = None) -> LoadedModel:
        """Verifies and loads everything a Deceptron's checkpoint holds."""
        manifest = self.manifest(name, version)
        directory = self.directory(name, manifest.version)
        problem = _problem(directory, manifest)
        if (manifest.architecture.n, manifest.architecture.m) != (problem.n, problem.m):
            raise CheckpointError(
                f"{directory}: made for {manifest.architecture.n} unknowns and {manifest.architecture.m} observations, "
                f"but problem {problem.name!r} has {problem.n} and {problem.m}; retrain"
            )
        calibration, examples = (_extra(directory, manifest, stem) for stem in ("calibration", "examples"))
        deceptron, graphs = load(directory, manifest, problem.forward), read_graphs(directory, manifest)
        return LoadedModel(manifest, problem, deceptron, calibration, examples, graphs)

    def load_network(self, name: str, version: int | None = None) -> LoadedNetwork:
        """Verifies and loads everything an image network's checkpoint holds."""
        manifest = self.network_manifest(name, version)
        directory = self.directory(name, manifest.version)
        network = load_network(directory, manifest)
        graphs = read_graphs(directory, manifest)
        return LoadedNetwork(manifest, network, _extra(directory, manifest, "calibration"), graphs)

    def directory(self, name: str, version: int | None = None) -> Path:
        """Where a version lies, the newest unless given; raises UnknownCheckpoint."""
        return self.root / name / str(self.version(name, version))

    def version(self, name: str, version: int | None = None) -> int:
        """That version, if it is there, the newest unless given; raises UnknownCheckpoint."""
        versions = self.versions(name)
        if not versions:
            raise UnknownCheckpoint(f"no model named {name!r}; there are {', '.join(self._all()) or 'none'}")
        if version is not None and version not in versions:
            raise UnknownCheckpoint(
                f"model {name!r} has no version {version}; there are {', '.join(map(str, versions))}"
            )
        return versions[-1] if version is None else version

    def _all(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if entry.is_dir() and self.versions(entry.name))

    def _newest_kind(self, name: str) -> str:
        return kind_of(self.directory(name))


def _versions_in(directory: str) -> list[int]:
    with os.scandir(directory) as entries:
        return sorted(int(e.name) for e in entries if re.fullmatch("[1-9][0-9]*", e.name) and e.is_dir())


def _named(directory: Path, manifest: AnyManifest) -> AnyManifest:
    if (manifest.name, str(manifest.version)) != (directory.parent.name, directory.name):
        raise CheckpointError(
            f"{directory}: the manifest says {manifest.name}/{manifest.version}; give the directory that name"
        )
    return manifest


def _extra(directory: Path, manifest: Record, stem: str) -> dict[str, Tensor]:
    """A further file's tensors; nothing where the checkpoint has none of that name."""
    name = f"{stem}.safetensors"
    return read_tensors(directory, manifest, name) if name in manifest.files else {}


def _problem(directory: Path, manifest: Manifest) -> Problem:
    try:
        return load_problem(manifest.problem)
    except UnknownProblem as error:
        raise CheckpointError(f"{directory}: {error}; install the package that has it") from error
