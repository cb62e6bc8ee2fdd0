"""The network's way: diagnostics and verdict, colour, model cards, and checkpoints that cannot be used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import save
from physics.blur import Blur
from physics.kernels import gaussian
from service.deblurring.handler import DeblurHandler
from service.deblurring.networks import Networks
from service.deblurring.prepare import spec_of
from service.deblurring.request import DeblurRequest
from service.deblurring.results import assemble_picture, joined, merged
from service.deblurring.schemas import DeblurParameters
from service.deblurring.spec import DeblurSpec, pack
from service.deblurring.work import Deblurring
from service.errors import ModelUnusable, UnknownModel
from service.images import Picture
from tests.models.stored import network, network_manifest_of, store_network
from tests.scenes import scene
from trust.images import calibrate_images

KERNEL = gaussian(1.2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small calibrated network named deblur, and one without a calibration."""
    made, blur, folder = network().eval(), Blur(KERNEL), tmp_path_factory.mktemp("checkpoints")
    crops = [torch.from_numpy(scene(32, 32, seed=i))[None] for i in range(8)]
    calibration = calibrate_images(made, crops, [(blur.forward(crop), blur, 0.01) for crop in crops])
    save(folder, network_manifest_of(name="deblur"), made, {"calibration": calibration.tensors()})
    save(folder, network_manifest_of(name="plain"), made, {})
    return folder


@pytest.fixture
def deblurring(root: Path) -> Deblurring:
    return Deblurring(Networks(root, "cpu"))


def spec(model: str = "deblur", factor: int = 1) -> DeblurSpec:
    return DeblurSpec("dnet", model, 1, None, "reflect", factor, None, 40 * factor, 50 * factor, 1, 8)


def observed(channels: int = 1) -> np.ndarray:
    """(C, h, w) uint8."""
    y = Blur(KERNEL).forward(torch.from_numpy(scene(40, 50, channels, seed=5))[None])[0].numpy()
    noisy = y + np.random.default_rng(0).normal(0, 0.01, y.shape)
    return np.rint(255 * np.clip(noisy, 0, 1)).astype(np.uint8)


@pytest.mark.parametrize("factor", [1, 2])
def test_an_answer_with_its_diagnostics(deblurring: Deblurring, factor: int) -> None:
    seen: list[tuple[int, int]] = []
    found = deblurring.restore(spec(factor=factor), KERNEL.numpy(), observed()[0], lambda n, of: seen.append((n, of)))
    assert (found.x.shape, found.x.dtype) == ((40 * factor, 50 * factor), np.float32)
    assert seen == [(1, 2), (2, 2)]
    assert (found.item["solved_by"], found.item["iterations"], found.item["error"]) == ("dnet", 2, None)
    assert found.item["noise_std"] == pytest.approx(0.01, rel=0.4)
    diagnostics = found.item["diagnostics"]
    assert {"rjcp", "rjcp_p_value", "residual_to_noise", "p_value", "verdict", "reasons"} <= set(diagnostics)
    assert diagnostics["verdict"] in ("in_range", "suspect", "out_of_range")
    assert diagnostics["residual_to_noise"] == pytest.approx(found.item["residual_rms"] / found.item["noise_std"])


def test_without_a_calibration_there_is_no_verdict(deblurring: Deblurring) -> None:
    diagnostics = deblurring.restore(spec("plain"), KERNEL.numpy(), observed()[0]).item["diagnostics"]
    assert "residual_to_noise" in diagnostics
    assert "verdict" not in diagnostics


def test_channels_are_joined(deblurring: Deblurring) -> None:
    done = [deblurring.restore(spec(), KERNEL.numpy(), channel) for channel in observed(3)]
    items = [one.item for one in done]
    item = joined(items)
    own = [one["diagnostics"]["p_value"] for one in items]
    assert item["diagnostics"]["p_value"] == pytest.approx(min(1.0, 3 * min(own)))
    assert item["diagnostics"]["rjcp"] == pytest.approx(np.mean([one["diagnostics"]["rjcp"] for one in items]))
    assert merged([one.x for one in done]).shape == (40, 50, 3)
    assert item["residual_rms"] == pytest.approx(np.sqrt(np.mean([one["residual_rms"] ** 2 for one in items])))
    assert joined(items[:1]) == items[0]


def test_one_channel_out_of_range_is_enough() -> None:
    fine = {"p_value": 0.5, "rjcp_p_value": 0.5, "rjcp": 0.2, "verdict": "in_range", "reasons": []}
    odd = {"p_value": 0.001, "rjcp_p_value": 0.9, "rjcp": 0.4, "verdict": "out_of_range", "reasons": ["odd"]}
    head = {"status": "converged", "residual_rms": 0.1, "noise_std": 0.1, "iterations": 6}
    item = joined([{**head, "diagnostics": each} for each in (fine, odd, fine)])
    assert item["diagnostics"]["p_value"] == pytest.approx(0.003)
    assert (item["diagnostics"]["verdict"], item["diagnostics"]["reasons"]) == ("out_of_range", ["odd"])
    assert item["diagnostics"]["rjcp_p_value"] == 1.0


def test_cards_and_warm_up(root: Path) -> None:
    networks = Networks(root, "cpu")
    Deblurring(networks).warm()
    assert networks.names() == ["deblur", "plain"]
    card, plain = networks.card("deblur"), networks.card("plain")
    assert (card["calibration"]["items"], plain["calibration"]["items"]) == (8, 0)
    assert (card["kind"], card["version"], card["versions"]) == ("network", 1, [1])
    assert card["methods"][0] == "dnet"
    assert {"title", "metrics", "training", "images", "architecture"} <= set(card)


def test_what_cannot_be_used(tmp_path: Path) -> None:
    networks = Networks(tmp_path, "cpu")
    with pytest.raises(UnknownModel, match="no model named 'deblur'"):
        networks.version("deblur")
    directory = store_network(tmp_path, name="deblur")  # its calibration holds scores only
    with pytest.raises(ModelUnusable, match="its calibration lacks 'fisher'"):
        networks.load("deblur", 1)
    (directory / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelUnusable, match="does not match"):
        networks.load("deblur", 1)
    assert networks.names() == []


@pytest.mark.parametrize(
    ("given", "method"),
    [({}, "dnet"), ({"method": "lm"}, "lm"), ({"model": "plain"}, "dnet"), ({"model": "none"}, None)],
)
def test_the_best_method_there_is(root: Path, tmp_path: Path, given: dict[str, str], method: str | None) -> None:
    request = DeblurRequest(DeblurParameters(**given), Picture(observed()), KERNEL.numpy())  # type: ignore[arg-type]
    if method is None:
        with pytest.raises(UnknownModel, match="none"):
            spec_of(request, Networks(root, "cpu"))
        return
    found = spec_of(request, Networks(root, "cpu"))
    assert (found.method, found.version) == (method, 1 if method == "dnet" else None)
    if not given:
        assert spec_of(request, Networks(tmp_path, "cpu")).method == "wiener"


@pytest.mark.parametrize("method", ["dnet", "wiener"])
def test_payloads_as_the_queue_gives_them(deblurring: Deblurring, method: str) -> None:
    """Bytes cannot be written to: torch warns of such arrays, and a warning is no line of a JSON log."""
    how = replace(spec(), method=method, version=1 if method == "dnet" else None)
    (outcome,) = DeblurHandler(deblurring)(how.to_json(), [pack(KERNEL.numpy(), observed()[0])])
    result = assemble_picture(how, [outcome.parts])
    assert result.x is not None
    assert result.x.shape == (40, 50)
    assert result.document(0.1, with_x=False)["items"][0]["x"] is None
