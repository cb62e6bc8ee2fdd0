"""The training loop: stages of batches with Adam, a progress bar with the loss terms, and a state it can resume from.

Batch i of a run is the same whether or not the run was interrupted before it: its rows and its noise are drawn from a
generator seeded by (seed, i), and the optimiser's moments travel in the resume file.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor
from tqdm import tqdm

from models.deceptron import Deceptron
from physics.problem import Problem
from training.data import Items
from training.losses import Batch, Losses
from training.recipes import Recipe, Stage
from training.resume import read_resume, under, write_resume
from training.team import Team

SAVE_EVERY_S = 30.0
LOG_INTERVAL_S = 10.0  # between lines of progress where the output is a file
ALONE = Team()
SHOW_EVERY = 20  # batches between updates of the figures in the progress bar


@dataclass(frozen=True)
class Position:
    """Where in the recipe a run stands."""

    stage: int = 0
    batch: int = 0


@dataclass
class Trainer:
    """Trains one Deceptron by one recipe with one seed; resumable from ``resume_file``."""

    problem: Problem
    recipe: Recipe
    deceptron: Deceptron
    items: Items
    seed: int
    resume_file: Path
    quiet: bool = False
    team: Team = ALONE

    def run(self, resume: bool = False) -> None:
        """Runs all stages, or what is left of them when a resume file is there and asked for."""
        losses = Losses.of(self.problem, self.recipe, self.deceptron, self.items.x)
        position, moments = self._restore() if resume and self.resume_file.exists() else (Position(), None)
        for index in range(len(self.recipe.stages)):
            if index < position.stage:
                continue
            first = position.batch if index == position.stage else 0
            self._run_stage(losses, index, first, moments if index == position.stage else None)
        self.team.wait()
        if self.team.leads:
            self.resume_file.unlink(missing_ok=True)

    def _run_stage(self, losses: Losses, index: int, first: int, moments: dict[str, Tensor] | None) -> None:
        stage = self.recipe.stages[index]
        trained = [p for side in stage.sides for p in self.deceptron.parameters_of(side)]
        for parameter in self.deceptron.parameters():
            parameter.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)
        optimiser = torch.optim.Adam(trained, lr=stage.learning_rate)
        if moments is not None:
            _put_moments(optimiser, moments)
        saved = time.monotonic()
        interval_s = 0.2 if sys.stderr.isatty() else LOG_INTERVAL_S
        label = f"{self.recipe.name}/{stage.name}"
        silent = self.quiet or not self.team.leads
        with tqdm(total=stage.batches, initial=first, desc=label, disable=silent, mininterval=interval_s) as bar:
            for batch_index, batch, generator in self._batches(index, stage, first):
                for group in optimiser.param_groups:
                    group["lr"] = _learning_rate(stage, batch_index)
                terms = _step(
                    losses, stage, batch_index, batch, generator, optimiser, self.recipe.gradient_clip, self.team
                )
                bar.update()
                if batch_index % SHOW_EVERY == 0:
                    bar.set_postfix({name: f"{term.item():.3g}" for name, term in terms.items()}, refresh=False)
                if self.team.leads and time.monotonic() - saved > SAVE_EVERY_S:
                    self._save(Position(index, batch_index + 1), optimiser)
                    saved = time.monotonic()
        for parameter in self.deceptron.parameters():
            parameter.requires_grad_(False)

    def _batches(self, stage_index: int, stage: Stage, first: int) -> Iterator[tuple[int, Batch, Generator]]:
        like = self.deceptron.x_scale
        x, clean = self.items.x.to(like), self.items.clean.to(like)
        fixed_y = None if self.recipe.noise_aware else self.items.y.to(like)
        per_epoch = max(1, len(x) // self.recipe.batch_size)
        order, of_epoch = torch.empty(0, dtype=torch.long), -1
        for i in range(first, stage.batches):
            if i // per_epoch != of_epoch:
                of_epoch = i // per_epoch
                order = torch.randperm(len(x), generator=self._generator(stage_index, of_epoch, 1))
            at = (i % per_epoch) * self.recipe.batch_size
            rows = order[at : at + self.recipe.batch_size]
            generator = self._generator(stage_index, i, 2)
            noise = self.problem.noise_std * torch.randn(len(rows), self.problem.m, generator=generator).to(like)
            y = clean[rows] + noise if fixed_y is None else fixed_y[rows]
            mine = self.team.share(torch.arange(len(rows)))
            if not self.team.leads:  # perturbations of one's own: the leader's are those of a run alone
                generator = self._generator(stage_index, i * self.team.size + self.team.rank, 3)
            yield i, Batch(x[rows][mine], clean[rows][mine], y[mine]), generator

    def _generator(self, stage: int, index: int, purpose: int) -> Generator:
        return Generator().manual_seed(((self.seed * 64 + stage) * 4 + purpose) * 10_000_000 + index)

    def _save(self, position: Position, optimiser: torch.optim.Adam) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.deceptron.state_dict().items()}
        for i, parameter in enumerate(optimiser.param_groups[0]["params"]):
            for name, value in optimiser.state[parameter].items():
                tensors[f"adam.{i}.{name}"] = value
        tensors["position"] = torch.tensor([position.stage, position.batch])
        write_resume(self.resume_file, self._run, tensors)

    def _restore(self) -> tuple[Position, dict[str, Tensor]]:
        tensors = read_resume(self.resume_file, self._run)
        self.deceptron.load_state_dict(under("model.", tensors))
        stage, batch = tensors["position"].tolist()
        return Position(int(stage), int(batch)), under("adam.", tensors)

    @property
    def _run(self) -> str:
        return f"{self.recipe!r} {self.deceptron.config!r} seed {self.seed}"


def _put_moments(optimiser: torch.optim.Adam, moments: dict[str, Tensor]) -> None:
    for i, parameter in enumerate(optimiser.param_groups[0]["params"]):
        optimiser.state[parameter] = dict(under(f"{i}.", moments))


def _step(
    losses: Losses,
    stage: Stage,
    index: int,
    batch: Batch,
    generator: Generator,
    optimiser: torch.optim.Optimizer,
    clip: float,
    team: Team,
) -> dict[str, Tensor]:
    weights = stage.weights.active()
    if "jcp" in weights:
        weights["jcp"] *= _ramp(stage, index)
    optimiser.zero_grad()
    terms = losses.terms(batch, frozenset(name for name, weight in weights.items() if weight), generator)
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    total.backward()
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    team.average(trained)
    torch.nn.utils.clip_grad_norm_(trained, clip)
    optimiser.step()
    return terms


def _ramp(stage: Stage, index: int) -> float:
    if stage.jcp_ramp is None:
        return 1.0
    low, high = stage.jcp_ramp
    return min(1.0, max(0.0, (index / stage.batches - low) / (high - low)))


def _learning_rate(stage: Stage, index: int) -> float:
    if stage.schedule == "constant":
        return stage.learning_rate
    half_turn = torch.pi * index / stage.batches
    return stage.learning_rate * 0.5 * (1.0 + float(torch.cos(torch.tensor(half_turn))))
