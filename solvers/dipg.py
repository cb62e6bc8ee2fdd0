"""D-IPG: a step in observation space carried back through the learned inverse (arXiv 2511.21076, algorithm 1)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from solvers.method import Cost, Curve, Iterate, Map, Memory, Memoryless, Objective, OneShot, Proposal, charge


@dataclass(frozen=True)
class Reached(Memory):
    """g(y*) (B, n): the full step leads there from anywhere, since f(x) - r = y*; so it is computed once."""

    one_shot: Tensor


@dataclass(frozen=True)
class InverseCurve(Curve):
    """shift + g(y - alpha r); no shift is a shift by nothing."""

    g: Map
    y: Tensor
    residual: Tensor
    one_shot: Tensor
    shift: Tensor | None

    def __call__(self, alpha: Tensor) -> Tensor:
        return self._shifted(self.g(self.y - alpha * self.residual))

    def full(self) -> Tensor:
        return self._shifted(self.one_shot)

    def _shifted(self, x: Tensor) -> Tensor:
        return x if self.shift is None else self.shift + x


@dataclass(frozen=True)
class DIPG(Memoryless):
    """The curve through g, in one of two forms.

    Published: alpha -> g(f(x) - alpha r). It need not pass through x, and at alpha = 1 it is g(y*) whatever x is,
    so on a nonlinear problem it cannot get past the one-shot answer.
    Anchored: alpha -> x + g(f(x) - alpha r) - g(f(x)). It passes through x and goes on from there.
    """

    anchored: bool = True
    inverses_per_trial: ClassVar[int] = 1

    def begin(self, objective: Objective, x: Tensor, one_shot: OneShot) -> Memory:
        """g(y*), where every full step leads."""
        return Reached(one_shot())

    @property
    def price(self) -> Cost:
        """Of a curve: anchoring costs one evaluation of g."""
        return charge(inverse=int(self.anchored))

    def propose(self, objective: Objective, at: Iterate, memory: Memory) -> Proposal:
        """The curve from here."""
        assert isinstance(memory, Reached)  # noqa: S101  the loop hands back what begin made
        g = objective.inverse
        shift = at.x - g(at.y) if self.anchored else None
        curve = InverseCurve(g, at.y, at.residual, memory.one_shot, shift)
        return Proposal(curve, memory, self.price)
