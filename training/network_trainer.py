"""Trains an image network, resumable, and keeps the running mean of its weights.

Batch i of a run is the same whether or not the run was interrupted before it: it is drawn from a generator seeded by
(seed, i). A run that is ended by its time limit is not repeatable to the digit; the manifest says how far it came.
"""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from tqdm import tqdm

from models.deceptronnet import DeceptronNet, ImageNetwork, network_of
from models.registry import LoadedNetwork
from training.images import Blurred, Source
from training.network_recipes import NetworkRecipe
from training.resume import read_resume, under, write_resume
from training.trainer import LOG_INTERVAL_S

SAVE_EVERY_S = 120.0
FLOOR = 1e-7  # of a mean square error under the logarithm: 70 dB
LAST_RATE = 0.01  # of the learning rate, where the schedule ends


@dataclass
class NetworkTrainer:
    """Trains one network by one recipe with one seed."""

    recipe: NetworkRecipe
    seed: int
    resume_file: Path
    quiet: bool = False
    start: LoadedNetwork | None = None  # whose weights are taken on
    network: ImageNetwork = field(init=False)
    averaged: ImageNetwork = field(init=False)
    batches_done: int = field(default=0, init=False)
    spent_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)  # the layers' own initialisation takes no generator
        self.network = network_of(self.recipe.network)
        if self.start:
            self.network.load_state_dict(self.start.network.state_dict())
        self.averaged = network_of(self.recipe.network)
        self.averaged.load_state_dict(self.network.state_dict())
        self.averaged.requires_grad_(False)
        if self.recipe.half_precision:  # the U-Net alone: residuals in bfloat16 would be as coarse as the noise
            unet = self.network.unet
            unet.forward = torch.autocast("cpu", torch.bfloat16)(unet.forward)  # type: ignore[method-assign]
        self._parameters: list[nn.Parameter] = list(self.network.parameters())
        self._adam = torch.optim.Adam(self._parameters, lr=self.recipe.learning_rate, betas=(0.9, 0.99))

    def run(self, resume: bool = False) -> ImageNetwork:
        """Trains to the end of the recipe, or of its time, and returns the averaged network, frozen."""
        if resume and self.resume_file.exists():
            self._restore()
        recipe, source = self.recipe, self.recipe.source()
        interval_s = 0.2 if sys.stderr.isatty() else LOG_INTERVAL_S
        last = saved = time.monotonic()
        done = self.batches_done
        with tqdm(
            total=recipe.batches, initial=done, desc=recipe.name, disable=self.quiet, mininterval=interval_s
        ) as bar:
            while self._progress() < 1.0:
                loss = self._batch(source)
                now = time.monotonic()
                self.spent_s, last = self.spent_s + now - last, now
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                bar.update()
                if now - saved > SAVE_EVERY_S:
                    self._save()
                    saved = now
        self._save()
        return self.averaged.eval()

    def finish(self) -> None:
        """Removes the resume file, once its outcome is safe."""
        self.resume_file.unlink(missing_ok=True)

    def _progress(self) -> float:
        done = self.batches_done / self.recipe.batches
        limit = self.recipe.limit_s
        return done if limit is None else max(done, self.spent_s / limit)

    def _batch(self, source: Source) -> float:
        recipe, i = self.recipe, self.batches_done
        rate = recipe.learning_rate * _schedule(self._progress(), i, recipe.warm_up)
        for group in self._adam.param_groups:
            group["lr"] = rate
        if isinstance(self.network, DeceptronNet):
            self.network.start = "linear" if i < recipe.linear_batches else recipe.network.start
        blurred = source.batch(recipe.batch_size, Generator().manual_seed(self.seed * 10_000_000 + i))
        loss = loss_of(self.network(blurred.y, blurred.blur, blurred.noise_std), blurred, recipe)
        self._adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, recipe.gradient_clip)
        self._adam.step()
        decay = min(recipe.average, i / (i + 20.0))
        with torch.no_grad():
            for mean, parameter in zip(self.averaged.parameters(), self._parameters, strict=True):
                mean.lerp_(parameter, 1.0 - decay)
        self.batches_done += 1
        return loss.item()

    def _save(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"mean.{name}": tensor for name, tensor in self.averaged.state_dict().items()}
        for i, parameter in enumerate(self._parameters):
            tensors |= {f"adam.{i}.{name}": value for name, value in self._adam.state[parameter].items()}
        tensors["batches"] = torch.tensor(self.batches_done)
        tensors["spent_s"] = torch.tensor(self.spent_s, dtype=torch.float64)
        write_resume(self.resume_file, self._run, tensors)

    def _restore(self) -> None:
        tensors = read_resume(self.resume_file, self._run)
        self.network.load_state_dict(under("model.", tensors))
        self.averaged.load_state_dict(under("mean.", tensors))
        for i, parameter in enumerate(self._parameters):
            self._adam.state[parameter] = dict(under(f"adam.{i}.", tensors))
        self.batches_done, self.spent_s = int(tensors["batches"]), float(tensors["spent_s"])

    @property
    def _run(self) -> str:
        """What decides the outcome, its length aside."""
        recipe = self.recipe
        run = f"{recipe.name} {recipe.version} {recipe.network!r} {recipe.loss} seed {self.seed}"
        return run + (f" from version {recipe.starts_from}" if recipe.starts_from else "")


def loss_of(steps: Sequence[Tensor], blurred: Blurred, recipe: NetworkRecipe) -> Tensor:
    """The recipe's loss of the last step, and ``early`` times its mean over the steps before."""
    losses = [_loss(mean_square_error(x, blurred), recipe.loss) for x in steps]
    early = recipe.early * torch.stack(losses[:-1]).mean() if len(losses) > 1 else 0.0
    return losses[-1] + early


def mean_square_error(x: Tensor, blurred: Blurred) -> Tensor:
    """Per image (B,), over the pixels that count."""
    margin = blurred.margin
    inside = slice(margin, -margin or None)
    return (x - blurred.x)[..., inside, inside].square().mean((1, 2, 3))


def _loss(errors: Tensor, kind: str) -> Tensor:
    return torch.log10(errors + FLOOR).mean() if kind == "log_mse" else errors.mean()


def _schedule(progress: float, batch: int, warm_up: int) -> float:
    rising = min(1.0, (batch + 1) / warm_up)
    return rising * (LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))
