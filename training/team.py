"""Processes that train one model together: each takes its rows of every batch, and all take the mean gradient.

    torchrun --nproc-per-node 4 -m service.cli train oscillator

With equal shares the mean of the processes' mean gradients is the whole batch's mean gradient, so a team of any size
takes the same steps as one process, up to rounding and to where each row's random perturbation comes from.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Team:
    """One process's place among those that train together; alone unless torchrun says otherwise.

    Attributes:
        rank, size: which of how many.
        device: where this process computes.
        fabric: Lightning Fabric, which knows how to talk to the others; None for one process.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    fabric: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process reports, evaluates and saves."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of a batch's rows; equal for all.

        Raises:
            ValueError: the rows cannot be shared out equally.
        """
        if len(rows) % self.size:
            raise ValueError(f"a batch of {len(rows)} cannot be shared by {self.size} processes; choose another number")
        return rows[self.rank :: self.size]

    def average(self, parameters: Sequence[Parameter]) -> None:
        """Replaces every gradient by its mean over the team, in one exchange."""
        if self.size == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = self.fabric.all_reduce(torch.cat([g.reshape(-1) for g in gradients]), reduce_op="mean")
        parts = flat.split([g.numel() for g in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            self.fabric.barrier()


def join_team(device: Device = "auto") -> Team:
    """The team that torchrun started this process in, or a team of one.

    Raises:
        ValueError: ``cuda`` was asked for, and torch sees no CUDA device.
    """
    chosen = "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
    if chosen == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but torch sees no CUDA device on this machine")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team(device=chosen)
    from lightning_fabric import Fabric

    local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    fabric = Fabric(accelerator=chosen, devices=local, num_nodes=size // local, strategy="ddp")
    fabric.launch()
    return Team(fabric.global_rank, fabric.world_size, str(fabric.device), fabric)
