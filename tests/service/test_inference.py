"""Inference without HTTP or queue: answers, refusals, and checkpoints that must not be used."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import save
from models.registry import Registry
from physics.problem import load_problem
from service.errors import DeviceUnavailable, InvalidInput, ModelUnusable, UnknownModel
from service.inference import METHODS, Inference, NotAtHand, SolveSpec
from service.prepare import RawRequest, prepare
from service.responses import dump_json
from service.settings import CHECKPOINTS, load_settings
from trust.scores import SCORES


@pytest.fixture(scope="module")
def inference() -> Inference:
    return Inference(CHECKPOINTS, "cpu")


def observed(problem_name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    problem, generator = load_problem(problem_name), torch.Generator().manual_seed(7)
    x, y = problem.simulate(count, generator)
    return x.numpy(), problem.observe(y, generator).numpy()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_answers(inference: Inference, method: str) -> None:
    truth, y = observed("oscillator", 8)
    (answer,) = inference.solve(SolveSpec("oscillator", 1, (method,), history=True), y)
    assert answer.x.shape == truth.shape
    for item in answer.items:
        assert item["error"] is None
        assert len(item["history"]) == item["iterations"] + 1
        assert len(item["fit"]) == y.shape[1]
        assert 0.0 < item["diagnostics"]["p_value"] <= 1.0
        assert set(item["identifiable"]) == {"c/m", "k/m", "x0", "v0"}


def test_in_range_and_shifted_observations_are_told_apart(inference: Inference) -> None:
    _, y = observed("oscillator", 200)
    shifted = y**3 / 4
    verdicts = [
        [
            item["diagnostics"]["verdict"]
            for item in inference.solve(SolveSpec("oscillator", 1, ("auto",)), rows)[0].items
        ]
        for rows in (y, shifted)
    ]
    assert verdicts[0].count("in_range") >= 180
    assert verdicts[1].count("out_of_range") >= 150


def test_error_bars_cover(inference: Inference) -> None:
    truth, y = observed("oscillator", 400)
    (answer,) = inference.solve(SolveSpec("oscillator", 1, ("auto",)), y)
    std = np.array([item["diagnostics"]["std"] for item in answer.items])
    covered = (np.abs(answer.x - truth) <= 1.645 * std).mean(axis=0)
    assert np.all(np.abs(covered - 0.90) < 0.06), covered


@pytest.mark.parametrize(("uncertainty", "there"), [(None, True), (True, True), (False, False)])
def test_error_bars_of_few_unknowns_can_be_left_out(
    inference: Inference, uncertainty: bool | None, there: bool
) -> None:
    spec = SolveSpec("oscillator", 1, ("auto",), uncertainty=uncertainty)
    (item,) = inference.solve(spec, observed("oscillator", 1)[1])[0].items
    assert ("std" in item["diagnostics"]) == ("resolution" in item["diagnostics"]) == there


def test_error_bars_of_many_unknowns_come_on_request(inference: Inference) -> None:
    truth, y = observed("heat3d", 6)
    plain = inference.solve(SolveSpec("heat3d", 1, ("auto",)), y)[0]
    asked = inference.solve(SolveSpec("heat3d", 1, ("auto",), uncertainty=True), y)[0]
    assert "std" not in plain.items[0]["diagnostics"]
    std = np.array([item["diagnostics"]["std"] for item in asked.items])
    assert (np.abs(asked.x - truth) <= 1.645 * std).mean() == pytest.approx(0.9, abs=0.08)
    assert all(len(item["diagnostics"]["resolution"]) == truth.shape[1] for item in asked.items)


def test_an_item_is_judged_alike_in_any_company_and_by_any_worker(inference: Inference) -> None:
    """By another worker to the bit; in another batch x^ differs in float32's last digit, a residual by 1e-4 noises."""
    _, y = observed("oscillator", 12)
    spec = SolveSpec("oscillator", 1, ("auto",))
    (together,) = inference.solve(spec, y)
    assert dump_json(Inference(CHECKPOINTS, "cpu").solve(spec, y)[0].items) == dump_json(together.items)
    for i in range(4):
        (alone,) = inference.solve(spec, y[i : i + 1])
        a, b = (answer.items[row]["diagnostics"] for answer, row in ((alone, 0), (together, i)))
        assert (a["verdict"], a["p_value"]) == (b["verdict"], b["p_value"])
        assert a["p_values"] == pytest.approx(b["p_values"], abs=1e-6)
        for name in SCORES:
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-6)


def test_a_loaded_manifest_is_not_read_again_but_looked_for(tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINTS / "oscillator", tmp_path / "oscillator")
    found = Inference(tmp_path, "cpu")
    found.check(SolveSpec("oscillator", 1, ("auto",)), 64)
    (tmp_path / "oscillator/1/manifest.json").write_text("{")
    assert found.manifest("oscillator").version == found.manifest("oscillator", 1).version == 1
    with pytest.raises(UnknownModel):
        found.manifest("oscillator", 2)
    shutil.rmtree(tmp_path / "oscillator/1")
    with pytest.raises(UnknownModel):
        found.manifest("oscillator")


def test_only_what_is_loaded_is_at_hand() -> None:
    found = Inference(CHECKPOINTS, "cpu")
    near = found.at_hand()
    with pytest.raises(NotAtHand):
        near.check(SolveSpec("oscillator", 1, ("auto",)), 64)
    found.check(SolveSpec("oscillator", 1, ("auto",)), 64)
    near.check(SolveSpec("oscillator", 1, ("auto",)), 64)
    with pytest.raises(InvalidInput):
        near.check(SolveSpec("oscillator", 1, ("auto",)), 63)
    with pytest.raises(UnknownModel):
        near.manifest("nothing")


def test_a_row_never_depends_on_its_batch(inference: Inference) -> None:
    _, y = observed("heat1d", 5)
    spec = SolveSpec("heat1d", 1, ("auto",))
    together = inference.solve(spec, np.vstack([y, np.full((1, 64), 1e6), 1e300 * np.ones((1, 64))]))[0]
    assert together.items[-1]["error"]["type"] == "nonfinite"
    assert np.isnan(together.x[-1]).all()
    for row, x, item in zip(y, together.x, together.items, strict=False):
        alone = inference.solve(spec, row[None])[0]
        np.testing.assert_allclose(alone.x[0], x, atol=1e-5)
        assert alone.items[0]["diagnostics"]["verdict"] == item["diagnostics"]["verdict"]


@pytest.mark.parametrize("model", ["heat1d", "heat1d-paper", "oscillator", "oscillator-paper"])
def test_rounding_never_decides_a_verdict(inference: Inference, model: str) -> None:
    """Another batch size rounds otherwise; ranks, and so verdicts, must not notice, even where RJCP is one constant."""
    manifest = inference.manifest(model)
    _, y = observed(manifest.problem, 60)
    spec = SolveSpec(model, 1, ("auto",), manifest.preset)
    together = inference.solve(spec, y)[0].items
    in_sevens = [item for rows in np.array_split(y, 9) for item in inference.solve(spec, rows)[0].items]
    verdicts = [[item["diagnostics"]["verdict"] for item in items] for items in (together, in_sevens)]
    assert verdicts[0] == verdicts[1]
    assert verdicts[0].count("in_range") >= 50
    ranks = [[item["diagnostics"]["p_value"] for item in items] for items in (together, in_sevens)]
    np.testing.assert_allclose(ranks[0], ranks[1], atol=2e-3)


def test_constraints_tighten(inference: Inference) -> None:
    _, y = observed("oscillator", 20)
    constraint = json.dumps({"fixed": {"indices": [0], "values": [1.0]}})
    (answer,) = inference.solve(SolveSpec("oscillator", 1, ("auto",), constraint=constraint), y)
    assert np.all(answer.x[:, 0] == 1.0)
    assert np.mean([item["status"] == "converged" for item in answer.items]) > 0.8  # mass is not identifiable


def test_wrong_specs_name_their_fields(inference: Inference) -> None:
    constraint = json.dumps({"box": {"lower": 5.0, "upper": 6.0}})
    spec = SolveSpec("heat1d", 1, ("magic",), tolerance=-1.0, relaxation=2.0, constraint=constraint)
    with pytest.raises(InvalidInput) as caught:
        inference.check(spec, 63)
    fields = {error.field for error in caught.value.errors}
    assert {"method", "observations", "options.tolerance", "options.relaxation"} <= fields
    assert any(field.startswith("constraint") for field in fields)
    with pytest.raises(UnknownModel, match="there are"):
        inference.check(SolveSpec("nope", 1, ("auto",)), None)
    with pytest.raises(UnknownModel, match="no version 99"):
        inference.manifest("heat1d", 99)


def test_specs_travel() -> None:
    spec = SolveSpec("heat1d", 1, ("dipg", "lm"), "paper", 7, 0.5, 0.1, True, '{"nonnegative":true}')
    assert SolveSpec.from_json(spec.to_json()) == spec


def test_a_damaged_checkpoint_is_left_out_and_says_why(tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINTS / "heat1d", tmp_path / "heat1d")
    shutil.copytree(CHECKPOINTS / "oscillator", tmp_path / "oscillator")
    model = tmp_path / "oscillator" / "1" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    inference = Inference(tmp_path, "cpu")
    inference.warm()
    assert [manifest.name for manifest in inference.manifests()] == ["heat1d"]
    assert "SHA-256" in inference.refused()["oscillator"]
    with pytest.raises(ModelUnusable, match="restore the checkpoint"):
        inference.check(SolveSpec("oscillator", 1, ("auto",)), 64)


def test_a_checkpoint_that_was_calibrated_before_a_score_was_added_says_what_to_do(tmp_path: Path) -> None:
    loaded = Registry(CHECKPOINTS).load("heat1d-paper")
    older = {**loaded.calibration, "scores": loaded.calibration["scores"][:, :-1].contiguous()}
    save(tmp_path, loaded.manifest, loaded.deceptron, {"calibration": older, "examples": loaded.examples})
    with pytest.raises(ModelUnusable, match=r"11 where this version has 12.*deceptron recalibrate heat1d-paper"):
        Inference(tmp_path, "cpu").card("heat1d-paper")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_cuda_is_refused() -> None:
    with pytest.raises(DeviceUnavailable, match="no CUDA device"):
        Inference(CHECKPOINTS, "cuda")


@pytest.mark.gpu
def test_cuda_agrees_with_cpu(inference: Inference) -> None:
    _, y = observed("oscillator", 64)
    spec = SolveSpec("oscillator", 1, ("auto",))
    on_gpu = Inference(CHECKPOINTS, "cuda").solve(spec, y)[0]
    np.testing.assert_allclose(on_gpu.x, inference.solve(spec, y)[0].x, rtol=1e-3, atol=1e-3)


def test_says_whether_its_verdict_is_calibrated(inference: Inference) -> None:
    """Ranks hold among items solved the same way; under other rules the verdict is only indicative, and says so."""
    _, y = observed("oscillator", 2)
    told = {
        (method, spec.preset): inference.solve(spec, y)[0].items[0]["diagnostics"]["calibrated"]
        for method, preset in (("auto", "product"), ("gd", "product"), ("auto", "paper"))
        for spec in [SolveSpec("oscillator", 1, (method,), preset)]
    }
    assert told == {("auto", "product"): True, ("gd", "product"): False, ("auto", "paper"): False}


@pytest.mark.parametrize(("model", "preset"), [("oscillator", "product"), ("oscillator-paper", "paper")])
def test_a_request_without_a_preset_gets_the_models_own(inference: Inference, model: str, preset: str) -> None:
    body = json.dumps({"model": model, "observations": [0.1] * 64}).encode()
    job = prepare(RawRequest("invert", "application/json", body, {}, None), inference, load_settings())
    assert SolveSpec.from_json(job.spec).preset == preset
