"""D-IPG: a step in observation space carried back through the learned inverse (arXiv 2511.21076, algorithm 1)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from solvers.method import Curve, Iterate, Map, Memory, Memoryless, Objective, Proposal, charge


@dataclass(frozen=True)
class InverseCurve(Curve):
    """shift + g(y - alpha r)."""

    g: Map
    y: Tensor
    residual: Tensor
    shift: Tensor

    def __call__(self, alpha: Tensor) -> Tensor:
        return self.shift + self.g(self.y - alpha * self.residual)


@dataclass(frozen=True)
class DIPG(Memoryless):
    """The curve through g, in one of two forms.

    Published: alpha -> g(f(x) - alpha r). It need not pass through x, and at alpha = 1 it is g(y*) whatever x is,
    so on a nonlinear problem it cannot get past the one-shot answer.
    Anchored: alpha -> x + g(f(x) - alpha r) - g(f(x)). It passes through x and goes on from there.
    """

    anchored: bool = True
    inverses_per_trial: ClassVar[int] = 1

    def propose(self, objective: Objective, at: Iterate, memory: Memory) -> Proposal:
        """The curve from here; anchoring costs one evaluation of g."""
        g = objective.inverse
        shift = at.x - g(at.y) if self.anchored else at.x.new_zeros(len(at.x), 1)
        curve = InverseCurve(g, at.y, at.residual, shift)
        return Proposal(curve, memory, charge(at.x, inverse=int(self.anchored)))
