"""Checkpoints come back bit by bit, and nothing that was tampered with comes back at all."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors

import models.checkpoint as checkpoint
from models.checkpoint import CheckpointError, load, read_manifest, read_tensors
from models.deceptron import Deceptron, DeceptronConfig
from models.registry import Registry
from physics.oscillator import displacement
from tests.models.stored import edit, extras, forge, manifest_of, model_of, store


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return store(tmp_path)


def test_round_trip_is_exact(directory: Path) -> None:
    manifest = read_manifest(directory)
    found, stored = load(directory, manifest, displacement), model_of()
    assert found.config == stored.config
    assert found.state_dict().keys() == stored.state_dict().keys()
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in stored.state_dict().items())
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_manifest_round_trip_is_exact(directory: Path) -> None:
    found = read_manifest(directory)
    assert found.model_copy(update={"files": {}}) == manifest_of()
    assert set(found.files) == {"model.safetensors", "calibration.safetensors", "examples.safetensors"}
    for name, record in found.files.items():
        assert record == checkpoint.digest((directory / name).read_bytes())


def test_extra_tensors_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stored = extras()
    directory = checkpoint.save(tmp_path, manifest_of(), model_of(), stored)
    for stem, tensors in stored.items():
        found = read_tensors(directory, read_manifest(directory), f"{stem}.safetensors")
        assert all(
            torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tensors.items()
        )


def test_saving_again_replaces_and_leaves_no_litter(directory: Path) -> None:
    store(directory.parents[1], seed=1)
    found = load(directory, read_manifest(directory), displacement)
    assert torch.equal(found.state_dict()["x_shift"], model_of(seed=1).x_shift)
    assert {path.suffix for path in directory.iterdir()} == {".json", ".safetensors"}
    assert len(list(directory.iterdir())) == 4


def test_a_crash_while_saving_leaves_nothing_usable(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving over an old checkpoint and dying half way must not mix the two."""
    write = checkpoint.write_atomically
    written: list[Path] = []

    def die_at_the_second(path: Path, data: bytes) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    monkeypatch.setattr(checkpoint, "write_atomically", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        store(directory.parents[1], seed=1)
    with pytest.raises(CheckpointError, match=r"manifest\.json: missing.*cut short"):
        read_manifest(directory)


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield store(Path(folder))


@given(st.data())
def test_no_flipped_bit_goes_unnoticed(shared: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["model.safetensors", "calibration.safetensors"]))
    original = (shared / name).read_bytes()
    at, bit = data.draw(st.integers(0, len(original) - 1)), data.draw(st.integers(0, 7))
    spoilt = bytearray(original)
    spoilt[at] ^= 1 << bit
    refuse(shared, name, bytes(spoilt), original)


@given(st.data())
def test_no_other_length_goes_unnoticed(shared: Path, data: st.DataObject) -> None:
    original = (shared / "model.safetensors").read_bytes()
    cut = data.draw(st.integers(0, len(original) - 1))
    refuse(shared, "model.safetensors", original[:cut], original)
    refuse(shared, "model.safetensors", original + original[:1], original)


def refuse(directory: Path, name: str, spoilt: bytes, original: bytes) -> None:
    (directory / name).write_bytes(spoilt)
    try:
        with pytest.raises(CheckpointError, match="damaged or was replaced; restore the checkpoint") as found:
            read_tensors(directory, read_manifest(directory), name)
        assert str(directory / name) in str(found.value)
    finally:
        (directory / name).write_bytes(original)


MANIFEST, MODEL = "manifest.json", "model.safetensors"

OTHER_BYTES: dict[str, tuple[bytes, str]] = {
    "cut": (json.dumps(manifest_of().model_dump(mode="json")).encode()[:-9], "not valid JSON; restore"),
    "empty": (b"", "not valid JSON; restore"),
    "binary": (b"\xff\xfe\x00", "not valid JSON; restore"),
    "deep": (b"[" * 200_000, "not valid JSON; restore"),
    "huge": (b" " * 2_000_000, "larger than 1048576 bytes; this is not a manifest"),
    "a list": (b"[1]", "not a Deceptron checkpoint: remove it"),
    "somebody else's": (b'{"model_type": "bert"}', "not a Deceptron checkpoint: remove it"),
}


@pytest.mark.parametrize("what", OTHER_BYTES)
def test_refuses_what_is_no_manifest(directory: Path, what: str) -> None:
    data, message = OTHER_BYTES[what]
    (directory / MANIFEST).write_bytes(data)
    refused(directory, MANIFEST, message)


FIELDS: dict[str, tuple[dict[str, object], str]] = {
    "format is a word": ({"format_version": "1"}, "not a Deceptron checkpoint: remove it"),
    "newer format": ({"format_version": 2, "news": 1}, r"format 2 is newer .*\(1\); update the software"),
    "no such format": ({"format_version": 0}, "there is no format 0; restore"),
    "field missing": ({"metrics": ...}, "metrics: Field required; restore"),
    "field unknown": ({"payload": "rm -rf"}, "payload: Extra inputs .*; restore"),
    "other kind": ({"kind": "unet"}, "kind: .*; restore"),
    "bad name": ({"name": "../small"}, "name: .*; restore"),
    "bad digest": ({"files": {MODEL: {"sha256": "0", "bytes": 1}}}, "sha256: .*; restore"),
    "impossible sizes": ({"architecture": {"n": 0, "m": 3}}, "sizes must be positive.*; restore"),
    "unknown activation": ({"architecture": {"n": 5, "m": 64, "activation": "relu"}}, "activation: .*; restore"),
}


@pytest.mark.parametrize("what", FIELDS)
def test_refuses_a_manifest_with_a_wrong_field(directory: Path, what: str) -> None:
    fields, message = FIELDS[what]
    edit(directory, fields)
    refused(directory, MANIFEST, message)


ELSEWHERE: dict[str, tuple[dict[str, object], str]] = {
    "renamed": ({"name": "other"}, "the manifest says other/1; give the directory that name"),
    "other version": ({"version": 3}, "the manifest says small/3; give the directory that name"),
    "other problem": ({"problem": "heat1d"}, "made for 5 unknowns and 64 .* has 64 and 64; retrain"),
    "unknown problem": ({"problem": "os:system"}, "no problem named 'os:system'; .*; install the package"),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_refuses_a_checkpoint_that_is_of_something_else(directory: Path, what: str) -> None:
    fields, message = ELSEWHERE[what]
    edit(directory, fields)
    refused(directory, "", message)


Tensors = dict[str, torch.Tensor]
WEIGHTS: dict[str, Callable[[Tensors], Tensors]] = {
    "a tensor missing": lambda t: {name: tensor for name, tensor in t.items() if name != "x_shift"},
    "a tensor too many": lambda t: {**t, "extra": torch.zeros(3)},
    "another shape": lambda t: {**t, "x_shift": torch.zeros(6)},
    "another model": lambda t: model_of(DeceptronConfig(5, 64, hidden=(4,))).state_dict(),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_refuses_weights_of_another_architecture(directory: Path, what: str) -> None:
    """The digest is right: somebody put other weights in and listed them."""
    forge(directory, MODEL, save_safetensors(WEIGHTS[what](model_of().state_dict())))
    refused(directory, MODEL, "does not fit the manifest's architecture; restore the checkpoint, or retrain")


@pytest.mark.parametrize("data", [b"", b"\x80\x04pickle", b"\xff" * 64])
def test_refuses_what_is_no_safetensors_file(directory: Path, data: bytes) -> None:
    forge(directory, MODEL, data)
    refused(directory, MODEL, "not a safetensors file .*; restore")


def swap(directory: Path) -> None:
    first, second, aside = (directory / f"{name}.safetensors" for name in ("model", "calibration", "aside"))
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def borrow(directory: Path) -> None:
    shutil.copy(store(directory.parents[1], seed=5, version=2) / MODEL, directory)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no manifest": (lambda d: (d / MANIFEST).unlink(), MANIFEST, "missing; .* not a checkpoint, or .* cut short"),
    "manifest a folder": (lambda d: folder(d / MANIFEST), MANIFEST, "cannot be read .*; restore"),
    "model missing": (lambda d: (d / MODEL).unlink(), MODEL, "cannot be read .*; restore"),
    "model a folder": (lambda d: folder(d / MODEL), MODEL, "cannot be read .*; restore"),
    "model not listed": (lambda d: edit(d, {"files": {}}), MODEL, "not listed in the manifest; restore"),
    "files swapped": (swap, "calibration.safetensors", "damaged or was replaced; restore"),
    "file of another version": (borrow, MODEL, "damaged or was replaced; restore"),
}


@pytest.mark.parametrize("what", FILES)
def test_refuses_files_that_are_not_what_they_were(directory: Path, what: str) -> None:
    spoil, file, message = FILES[what]
    spoil(directory)
    refused(directory, file, message)


def refused(directory: Path, file: str, message: str) -> None:
    """Loading raises, names the file first and says what to do."""
    with pytest.raises(CheckpointError, match=f"(?s){message}") as found:
        Registry(directory.parents[1]).load("small", 1)
    assert str(found.value).startswith(f"{directory / file}: ")


def test_what_the_manifest_does_not_list_is_not_read(directory: Path) -> None:
    listed = read_manifest(directory).model_dump(mode="json")["files"]
    edit(directory, {"files": {MODEL: listed[MODEL]}})
    assert (directory / "calibration.safetensors").exists()
    assert Registry(directory.parents[1]).load("small").calibration == {}


def test_a_checkpoint_of_the_physics_needs_no_f(tmp_path: Path) -> None:
    config = {"n": 5, "m": 64, "forward": "physics", "architecture": "residual", "hidden": (3,)}
    manifest = manifest_of(architecture=config)
    checkpoint.save(tmp_path, manifest, Deceptron(manifest.architecture, displacement), {})
    loaded = Registry(tmp_path).load("small")
    x = torch.tensor([loaded.problem.start])
    assert torch.equal(loaded.deceptron.f(x), displacement(x))


def test_the_manifest_is_readable_by_people(directory: Path) -> None:
    text = (directory / MANIFEST).read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert text.count("\n") > 30
