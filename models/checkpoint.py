"""The only reader and writer of checkpoints: a directory of safetensors files and one JSON manifest.

    NAME/VERSION/manifest.json       what it is, how it was made, the digest of every other file
    NAME/VERSION/model.safetensors   parameters and normalisation of the model
    NAME/VERSION/*.safetensors       further tensors (calibration, examples), each under its own digest
    NAME/VERSION/*.onnx              graphs of f, g and the adjoint for another engine, each under its own digest

A checkpoint is of one of two kinds, each with a manifest of its own: ``deceptron`` (f and g of a problem) and
``network`` (an image network). Nothing in a checkpoint is executable. Every file is checked against its digest before a
byte of it is used.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from models.activations import Map
from models.deceptron import Deceptron, DeceptronConfig
from models.deceptronnet import ImageNetwork, NetworkConfig, network_of

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MODEL = "model.safetensors"
GRAPH = ".onnx"
MAX_MANIFEST_BYTES = 1 << 20
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class CheckpointError(Exception):
    """A checkpoint that must not be used; the message says which file, what is wrong and what to do."""


class FileRecord(BaseModel):
    """Digest and size of one file beside the manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class EngineRecord(BaseModel):
    """Which engine runs a model by default, how much quicker its graphs were (GRAPH/BATCH), which it lacks and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    default: Literal["torch", "onnxruntime"]
    speedup: dict[str, float]
    left_out: dict[str, str] = Field(default_factory=dict)


class Record(BaseModel):
    """What every checkpoint says of itself and of how it was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format_version: int
    kind: str
    name: str = Field(pattern=NAME_PATTERN)
    version: int = Field(ge=1)
    recipe: dict[str, object]
    budget: str
    seed: int
    git_commit: str
    created_at: str
    versions: dict[str, str]
    data: dict[str, int]
    metrics: dict[str, float]
    metrics_of_seeds: dict[str, dict[str, float]] = Field(default_factory=dict)
    files: dict[str, FileRecord] = Field(default_factory=dict)


class Manifest(Record):
    """Of a Deceptron: the problem it inverts, and how it is to be used."""

    kind: Literal["deceptron"] = "deceptron"
    problem: str
    preset: Literal["paper", "product"]
    architecture: DeceptronConfig
    refinements: int = Field(ge=0)
    limits: dict[str, dict[str, float]] = Field(default_factory=dict, description="measured by `bench trust`")
    engine: EngineRecord | None = None


class NetworkManifest(Record):
    """Of an image network: what it is for, its form, the images that it and its calibration come from, and the digest
    of the weights that its training started from, where that was an earlier version."""

    kind: Literal["network"] = "network"
    title: str
    architecture: NetworkConfig
    images: dict[str, list[str]]
    started_from: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    engine: EngineRecord | None = None


AnyManifest = TypeVar("AnyManifest", bound=Record)
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def digest(data: bytes) -> FileRecord:
    """SHA-256 and size of a file's content."""
    return FileRecord(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def save(root: Path, manifest: Record, model: nn.Module, extra: Mapping[str, Mapping[str, Tensor]]) -> Path:
    """Writes NAME/VERSION under root and returns that directory.

    Args:
        extra: file stem -> tensors, e.g. ``{"calibration": {...}}``.

    Each file appears whole or not at all, the manifest last: a crash leaves either the old checkpoint or one that
    ``read_manifest`` refuses.
    """
    directory = root / manifest.name / str(manifest.version)
    directory.mkdir(parents=True, exist_ok=True)
    contents = {MODEL: save_safetensors(_contiguous(model.state_dict()))}
    contents |= {f"{stem}.safetensors": save_safetensors(_contiguous(tensors)) for stem, tensors in extra.items()}
    (directory / MANIFEST).unlink(missing_ok=True)
    for name, data in contents.items():
        write_atomically(directory / name, data)
    complete = manifest.model_copy(update={"files": {name: digest(data) for name, data in contents.items()}})
    write_manifest(directory, complete)
    return directory


def write_manifest(directory: Path, manifest: Record) -> None:
    """Puts the manifest in its place; the files it lists must lie there already."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    write_atomically(directory / MANIFEST, text.encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces path's content in one step, durable once it returns."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def kind_of(directory: Path) -> str:
    """The kind that a manifest names; ``deceptron`` where it names none or cannot be read (reading it says why)."""
    try:
        kind = _document(directory / MANIFEST).get("kind", "deceptron")
    except CheckpointError:
        return "deceptron"
    return kind if isinstance(kind, str) else "deceptron"


def read_manifest(directory: Path) -> Manifest:
    """Reads and validates a Deceptron's manifest.

    Raises:
        CheckpointError: missing, not JSON, of a newer format, or not such a manifest.
    """
    return _read(directory, Manifest)


def read_network_manifest(directory: Path) -> NetworkManifest:
    """The same for an image network's."""
    return _read(directory, NetworkManifest)


def _read(directory: Path, kind: type[AnyManifest]) -> AnyManifest:
    path = directory / MANIFEST
    document = _document(path)
    found = document.get("format_version")
    if not isinstance(found, int) or isinstance(found, bool):
        raise CheckpointError(f"{path}: no format_version; this is not a Deceptron checkpoint: remove it, or retrain")
    if found > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format {found} is newer than this software reads ({FORMAT_VERSION}); update the software"
        )
    if found < FORMAT_VERSION:
        raise CheckpointError(f"{path}: there is no format {found}; restore the checkpoint from its source")
    try:
        return kind.model_validate(document)
    except (ValidationError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a valid manifest: {_first_problem(error)}; restore the checkpoint from its source"
        ) from error


def _document(path: Path) -> dict[str, object]:
    """The JSON object in a manifest, unchecked; empty where it is another value."""
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise CheckpointError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes; this is not a manifest")
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path}: missing; {path.parent} is not a checkpoint, or writing it was cut short"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); restore the checkpoint") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON; restore the checkpoint from its source") from error
    return document if isinstance(document, dict) else {}


def read_tensors(directory: Path, manifest: Record, name: str) -> dict[str, Tensor]:
    """Reads one safetensors file after checking its digest.

    Raises:
        CheckpointError: not listed in the manifest, missing, damaged, or not safetensors.
    """
    data = _verified(directory, manifest, name)
    try:
        return load_safetensors(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{directory / name}: not a safetensors file ({error}); restore the checkpoint, or retrain"
        ) from error


def read_graphs(directory: Path, manifest: Record) -> dict[str, bytes]:
    """The ONNX graphs of a checkpoint by name, digests checked; raises CheckpointError."""
    names = [name for name in manifest.files if name.endswith(GRAPH)]
    return {name.removesuffix(GRAPH): _verified(directory, manifest, name) for name in names}


def _verified(directory: Path, manifest: Record, name: str) -> bytes:
    record = manifest.files.get(name)
    path = directory / name
    if record is None:
        raise CheckpointError(f"{path}: not listed in the manifest; restore the checkpoint, or retrain")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); restore the checkpoint") from error
    if digest(data) != record:
        raise CheckpointError(
            f"{path}: {len(data)} bytes whose SHA-256 does not match the manifest's ({record.bytes} bytes); "
            "the file is damaged or was replaced; restore the checkpoint"
        )
    return data


def load(directory: Path, manifest: Manifest, physics: Map) -> Deceptron:
    """Rebuilds the Deceptron of a checkpoint, frozen and in evaluation mode.

    Args:
        physics: the problem's forward map, used where the architecture says ``forward: physics``.

    Raises:
        CheckpointError: damaged, or its tensors do not fit the architecture in the manifest.
    """
    return _filled(Deceptron(manifest.architecture, physics), directory, manifest)


def load_network(directory: Path, manifest: NetworkManifest) -> ImageNetwork:
    """Rebuilds the image network of a checkpoint, frozen and in evaluation mode; raises as ``load`` does."""
    return _filled(network_of(manifest.architecture), directory, manifest)


def _filled(model: AnyModule, directory: Path, manifest: Record) -> AnyModule:
    path, tensors = directory / MODEL, read_tensors(directory, manifest, MODEL)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: does not fit the manifest's architecture; restore the checkpoint, or retrain. {error}"
        ) from error
    return model.requires_grad_(False).eval()


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _first_problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
