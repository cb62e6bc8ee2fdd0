"""The training loop: stages and sides, schedules, and runs that are cut short and taken up again."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.deceptron import Deceptron
from physics.problem import PROBLEMS
from tests.training.tiny import ALL, PROBLEM, items, recipe
from training import trainer
from training.losses import Losses
from training.recipes import Recipe, Stage, Weights
from training.resume import CannotResume
from training.run import fit
from training.trainer import Trainer

BATCHES = sum(stage.batches for stage in recipe().stages)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBLEMS, "tiny", "tests.training.tiny:PROBLEM")


def trained(folder: Path, chosen: Recipe, seed: int = 0, resume: bool = False) -> dict[str, Tensor]:
    model = fit(PROBLEM, chosen, items(), seed, folder / "resume.safetensors", resume, quiet=True)
    return model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def watch(monkeypatch: pytest.MonkeyPatch, before: Callable[[int, Stage, int, Deceptron], None]) -> None:
    """Calls ``before(count, stage, batch, model)`` ahead of every step."""
    step, count = trainer._step, iter(range(10_000))

    def watched(losses, stage, index, *rest):  # type: ignore[no-untyped-def]
        before(next(count), stage, index, losses.deceptron)
        return step(losses, stage, index, *rest)

    monkeypatch.setattr(trainer, "_step", watched)


class Cut(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("after", [1, 4, 7, 8, 15, BATCHES - 1])
def test_a_resumed_run_is_the_uninterrupted_run(tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit: cut within an epoch, between epochs, at a stage's end, in the last stage."""
    whole = trained(tmp_path, recipe())
    monkeypatch.setattr(trainer, "SAVE_EVERY_S", -1.0)
    ran: list[int] = []

    def cut(count: int, *_: object) -> None:
        ran.append(count)
        if count == after:
            raise Cut

    with monkeypatch.context() as patch:
        watch(patch, cut)
        with pytest.raises(Cut):
            trained(tmp_path, recipe())
    assert (tmp_path / "resume.safetensors").exists()
    left: list[int] = []
    watch(monkeypatch, lambda count, *_: left.append(count))
    assert same(trained(tmp_path, recipe(), resume=True), whole)
    assert len(left) == BATCHES - after, "it went on, and did not start again"
    assert not (tmp_path / "resume.safetensors").exists()


def test_without_a_resume_file_it_starts_at_the_start(tmp_path: Path) -> None:
    assert same(trained(tmp_path, recipe(), resume=True), trained(tmp_path, recipe()))


def test_a_resume_file_is_used_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "resume.safetensors").write_bytes(b"from another time")
    trained(tmp_path, recipe())


def test_a_resume_file_of_another_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(count: int, *_: object) -> None:
        if count == 3:
            raise Cut

    monkeypatch.setattr(trainer, "SAVE_EVERY_S", -1.0)
    with monkeypatch.context() as patch:
        watch(patch, cut)
        with pytest.raises(Cut):
            trained(tmp_path, recipe(), seed=1)
    for other in (recipe(), replace(recipe(), gradient_clip=0.123)):
        with pytest.raises(CannotResume, match=r"resume\.safetensors: from another seed, or .* remove it"):
            trained(tmp_path, other, seed=0 if other == recipe() else 1, resume=True)
    (tmp_path / "resume.safetensors").write_bytes(b"half a f")
    with pytest.raises(CannotResume, match=r"resume\.safetensors: damaged .* remove it"):
        trained(tmp_path, recipe(), resume=True)


def test_the_seed_decides(tmp_path: Path) -> None:
    first = trained(tmp_path, recipe(), seed=1)
    assert same(first, trained(tmp_path, recipe(), seed=1))
    assert not same(first, trained(tmp_path, recipe(), seed=2))


def test_three_stages_train_f_then_g_then_g_with_jcp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage moves its own side and leaves the other where it was."""
    sides: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def note(_: int, stage: Stage, __: int, model: Deceptron) -> None:
        flat = [torch.cat([p.detach().flatten() for p in model.parameters_of(side)]) for side in ("f", "g")]
        sides.setdefault(stage.name, []).append((flat[0], flat[1]))

    watch(monkeypatch, note)
    trained(tmp_path, recipe())
    assert {name: len(seen) for name, seen in sides.items()} == {"f": 7, "g": 7, "jcp": 7}
    for name, moved in (("f", 0), ("g", 1), ("jcp", 1)):
        first, last = sides[name][0], sides[name][-1]
        assert not torch.equal(first[moved], last[moved])
        assert torch.equal(first[1 - moved], last[1 - moved])


def test_one_joint_stage_trains_both_sides_with_all_terms(tmp_path: Path) -> None:
    """The paper's schedule; every loss falls on data not seen in training."""
    joint = Stage("joint", 150, ALL, learning_rate=1e-2, schedule="cosine")
    chosen = recipe(stages=(joint,), start="random", architecture="layer", hidden=(), activation="identity")
    before, after = (trained(tmp_path, replace(chosen, stages=(replace(joint, batches=n),))) for n in (1, 150))
    for name in ("pair.W", "pair.b", "pair.V", "pair.c"):
        assert not torch.equal(before[name], after[name])
    fresh = items(400)
    errors = []
    for state in (before, after):
        model = Deceptron(chosen.config(PROBLEM)).requires_grad_(False)
        model.load_state_dict(state)
        x, y = fresh.x.float(), fresh.clean.float()
        errors.append([(model.f(x) - y).square().mean(), (model.g(model.f(x)) - x).square().mean()])
    assert errors[1][0] < 0.4 * errors[0][0]
    assert errors[1][1] < 0.4 * errors[0][1]


def test_terms_that_are_off_cost_nothing_even_on_the_ramp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JCP from 0 at 20 % of a stage to its weight at 80 %."""
    weights: list[dict[str, float]] = []
    record = Losses.terms

    def recording(self, batch, names, generator):  # type: ignore[no-untyped-def]
        weights.append(dict.fromkeys(names, 1.0))
        return record(self, batch, names, generator)

    monkeypatch.setattr(Losses, "terms", recording)
    stage = Stage("joint", 10, Weights(task=1.0, jcp=0.5), jcp_ramp=(0.2, 0.8))
    trained(tmp_path, recipe(stages=(stage,)))
    assert ["jcp" in seen for seen in weights] == [False] * 3 + [True] * 7
    ramp = [trainer._ramp(stage, i) for i in range(11)]
    assert ramp == pytest.approx([0, 0, 0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1])
    assert trainer._ramp(replace(stage, jcp_ramp=None), 0) == 1.0


def test_learning_rates() -> None:
    stage = Stage("s", 10, Weights(), learning_rate=0.4)
    assert {trainer._learning_rate(stage, i) for i in range(10)} == {0.4}
    cosine = [trainer._learning_rate(replace(stage, schedule="cosine"), i) for i in range(11)]
    assert cosine == pytest.approx([0.2 * (1 + math.cos(math.pi * i / 10)) for i in range(11)])


def batches(chosen: Recipe, tmp_path: Path, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """x and y of each batch of the first stage."""
    model = Deceptron(chosen.config(PROBLEM)).double()
    run = Trainer(PROBLEM, chosen, model, items(), seed, tmp_path / "r", quiet=True)
    return [(batch.x, batch.y) for _, batch, _ in run._batches(0, chosen.stages[0], 0)]


def test_an_epoch_shows_each_item_once_and_the_next_one_in_another_order(tmp_path: Path) -> None:
    chosen = recipe(batch_size=25, stages=(Stage("f", 8, Weights(task=1.0)),))
    seen = [x for x, _ in batches(chosen, tmp_path)]
    for epoch in (seen[:4], seen[4:]):
        assert len(torch.cat(epoch).unique(dim=0)) == 100
    assert not torch.equal(seen[0], seen[4])


@pytest.mark.parametrize("noise_aware", [True, False])
def test_noise_is_fresh_in_every_epoch_or_always_the_same(tmp_path: Path, noise_aware: bool) -> None:
    chosen = recipe(batch_size=100, stages=(Stage("f", 2, Weights(task=1.0)),), noise_aware=noise_aware)
    noises = []
    for x, y in batches(chosen, tmp_path):
        order = x[:, 0].argsort()
        noises.append((y - PROBLEM.forward(x))[order])
    assert torch.allclose(noises[0], noises[1]) != noise_aware
    assert noises[0].std().item() == pytest.approx(PROBLEM.noise_std, rel=0.15)


def test_few_items_make_small_batches(tmp_path: Path) -> None:
    chosen = recipe(batch_size=1000, stages=(Stage("f", 3, Weights(task=1.0)),))
    assert [len(x) for x, _ in batches(chosen, tmp_path)] == [100, 100, 100]
