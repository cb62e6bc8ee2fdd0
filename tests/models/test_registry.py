"""Names find checkpoints under one root, and never anything outside it."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_safetensors

from models.checkpoint import CheckpointError
from models.registry import Registry, UnknownCheckpoint
from physics.blur import Blur
from physics.kernels import gaussian
from tests.models.stored import edit, forge, network, network_manifest_of, store, store_network

OUTSIDE = [
    "..",
    ".",
    "",
    "../models",
    "../small",
    "small/..",
    "small/../small",
    "small/1",
    "/etc",
    "small\n",
    "Small",
    "small\0",
    "\ud800",
    "~",
    "a" * 300,
]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    root = tmp_path / "models"
    for version in (1, 2, 10):
        store(root, version=version)
    store(root, name="other", version=1)
    # Bait beside the root: what a name that climbs out would find.
    store(tmp_path, name="small", version=1)
    store(tmp_path / "1", name="small", version=1)
    return Registry(root)


def test_lists_names_and_versions_in_order(registry: Registry) -> None:
    assert registry.names() == ["other", "small"]
    assert registry.versions("small") == [1, 2, 10]


def test_the_newest_version_unless_asked(registry: Registry) -> None:
    assert registry.manifest("small").version == 10
    assert registry.load("small").manifest.version == 10
    assert registry.manifest("small", 2).version == 2
    assert registry.directory("small", 2) == registry.root / "small" / "2"


@pytest.mark.parametrize("name", OUTSIDE, ids=repr)
def test_names_never_leave_the_root(registry: Registry, name: str) -> None:
    assert registry.versions(name) == []
    for use in (registry.manifest, registry.load, registry.directory):
        with pytest.raises(UnknownCheckpoint, match="there are other, small"):
            use(name)


def test_an_absolute_name_never_leaves_the_root(registry: Registry) -> None:
    with pytest.raises(UnknownCheckpoint):
        registry.load(str(registry.root.parent / "small"))


def test_unknown_names_and_versions_list_what_there_is(registry: Registry) -> None:
    with pytest.raises(UnknownCheckpoint, match="no model named 'smal'; there are other, small"):
        registry.manifest("smal")
    for version in (3, 0, -1):
        with pytest.raises(UnknownCheckpoint, match=f"'small' has no version {version}; there are 1, 2, 10"):
            registry.manifest("small", version)


def test_only_version_folders_count(registry: Registry) -> None:
    folder = registry.root / "small"
    for stray in ("01", "0", "11.bak", "²", "٣", "tmp"):
        (folder / stray).mkdir()
    (folder / "12").write_text("a file")
    (registry.root / "empty").mkdir()
    (registry.root / "README.md").write_text("hello")
    assert registry.versions("small") == [1, 2, 10]
    assert registry.names() == ["other", "small"]


def test_a_folder_is_listed_again_only_when_it_has_changed(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, listed, scandir = registry.root / "small", list[str](), os.scandir

    def noted(path: str) -> object:
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    monkeypatch.setattr("models.registry.SETTLED_NS", 3600 * 10**9)  # "just now" lasts as long as this test, at least
    os.utime(folder, (1e9, 1e9))  # long ago
    assert [registry.versions("small") for _ in range(3)] == [[1, 2, 10]] * 3
    assert len(listed) == 1
    (folder / "11").mkdir()
    assert [registry.versions("small") for _ in range(2)] == [[1, 2, 10, 11]] * 2
    assert len(listed) == 3  # what changed just now is not trusted yet
    (folder / "11").rmdir()
    assert registry.versions("small") == [1, 2, 10]


@pytest.mark.parametrize("root", ["missing", "file"])
def test_no_root_is_no_models(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("")
    registry = Registry(tmp_path / root)
    assert registry.names() == []
    with pytest.raises(UnknownCheckpoint, match="there are none"):
        registry.load("small")


def test_a_broken_checkpoint_does_not_hide_the_others(registry: Registry) -> None:
    (registry.root / "other" / "1" / "manifest.json").write_text("{")
    assert registry.names() == ["other", "small"]
    assert registry.load("small").problem.name == "oscillator"
    with pytest.raises(CheckpointError):
        registry.manifest("other")


@pytest.fixture
def mixed(tmp_path: Path) -> Registry:
    store(tmp_path, name="small")
    store_network(tmp_path, name="sharpen")
    return Registry(tmp_path)


def test_networks_and_deceptrons_are_listed_apart(mixed: Registry) -> None:
    assert mixed.names() == ["small"]
    assert mixed.networks() == ["sharpen"]


def test_a_network_comes_back_as_it_was_saved(mixed: Registry) -> None:
    loaded = mixed.load_network("sharpen")
    assert loaded.manifest.model_copy(update={"files": {}}) == network_manifest_of(name="sharpen")
    assert loaded.calibration["scores"].shape == (4, 2)
    y, camera, noise = torch.rand(1, 1, 12, 12), Blur(gaussian(1.0)), torch.tensor([0.02])
    torch.testing.assert_close(loaded.network(y, camera, noise), network()(y, camera, noise))
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())


def test_one_kind_is_not_taken_for_the_other(mixed: Registry) -> None:
    with pytest.raises(UnknownCheckpoint, match="'sharpen' is a network for images"):
        mixed.load("sharpen")
    with pytest.raises(UnknownCheckpoint, match="'small' is not a network for images; there are sharpen"):
        mixed.load_network("small")


def test_a_damaged_network_is_refused(mixed: Registry) -> None:
    directory = mixed.directory("sharpen")
    forge(directory, "model.safetensors", save_safetensors({"gamma": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="does not fit the manifest's architecture"):
        mixed.load_network("sharpen")
    edit(directory, {"title": ...})
    with pytest.raises(CheckpointError, match="title"):
        mixed.load_network("sharpen")


def test_what_cannot_be_read_is_listed_among_the_deceptrons(mixed: Registry) -> None:
    (mixed.directory("sharpen") / "manifest.json").write_text("[1]")
    assert mixed.names() == ["sharpen", "small"]
    with pytest.raises(CheckpointError, match="no format_version"):
        mixed.load("sharpen")
