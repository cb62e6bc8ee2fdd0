"""What an interrupted training goes on from: its tensors in one file, and a digest of the run that they belong to."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from models.checkpoint import write_atomically

OF_RUN = "run"


class CannotResume(Exception):
    """A resume file that is damaged or belongs to another run; the message says what to do."""


def write_resume(file: Path, run: str, tensors: dict[str, Tensor]) -> None:
    """Replaces the file; ``run`` is everything that decides the outcome, in words."""
    kept = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, save({**kept, OF_RUN: _digest(run)}))


def read_resume(file: Path, run: str) -> dict[str, Tensor]:
    """The tensors that were written; raises CannotResume."""
    try:
        tensors = load(file.read_bytes())
    except (SafetensorError, OSError) as error:
        raise CannotResume(f"{file}: damaged ({error}); remove it, or start with --restart") from error
    if not torch.equal(tensors.pop(OF_RUN, torch.empty(0)), _digest(run)):
        raise CannotResume(
            f"{file}: from another seed, or from this recipe before it changed; remove it, or start with --restart"
        )
    return tensors


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _digest(run: str) -> Tensor:
    return torch.tensor(list(hashlib.sha256(run.encode()).digest()), dtype=torch.uint8)
