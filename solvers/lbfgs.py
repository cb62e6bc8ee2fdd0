"""L-BFGS, batched: the two-loop recursion over the last moves of each row (Nocedal and Wright, algorithm 7.4)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from solvers.gradient import cauchy_step
from solvers.method import Iterate, Memory, Objective, OneShot, Proposal, Straight, charge, free_components


@dataclass(frozen=True)
class Moves(Memory):
    """The last k moves s and gradient changes y (B, k, n), 1 / s.y (B, k, 1) or zero, and the last point."""

    s: Tensor
    y: Tensor
    rho: Tensor
    x: Tensor
    gradient: Tensor
    iteration: Tensor


@dataclass(frozen=True)
class LBFGS:
    """Quasi-Newton direction from ``memory`` moves; the first step is the Cauchy step, so no unit is favoured."""

    memory: int = 10
    inverses_per_trial: int = 0

    def begin(self, objective: Objective, x: Tensor, one_shot: OneShot) -> Memory:
        """No moves yet."""
        moves = x.new_zeros(len(x), self.memory, x.shape[1])
        zero = x.new_zeros(len(x), 1)
        return Moves(moves, moves.clone(), x.new_zeros(len(x), self.memory, 1), x.clone(), torch.zeros_like(x), zero)

    def propose(self, objective: Objective, at: Iterate, memory: Memory) -> Proposal:
        """The straight curve along -H grad, H the inverse Hessian implied by the moves, in the free components."""
        assert isinstance(memory, Moves)  # noqa: S101  the loop hands back what begin made
        moves = self._remember(memory, at)
        free = free_components(objective, at)
        q = at.gradient * free
        weights = []
        for i in reversed(range(self.memory)):
            a = moves.rho[:, i] * (moves.s[:, i] * q).sum(1, keepdim=True)
            q = q - a * moves.y[:, i]
            weights.append(a)
        q = q * self._initial_scale(objective, at, moves)
        for i, a in zip(range(self.memory), reversed(weights), strict=True):
            b = moves.rho[:, i] * (moves.y[:, i] * q).sum(1, keepdim=True)
            q = q + moves.s[:, i] * (a - b)
        direction = -q * free
        downhill = (direction * at.gradient).sum(1, keepdim=True) < 0
        direction = torch.where(downhill, direction, -cauchy_step(objective, at) * at.gradient)
        return Proposal(Straight(at.x, direction), moves, charge(jvp=2))

    def learn(self, memory: Memory, alpha: Tensor, accepted: Tensor) -> tuple[Memory, Tensor]:
        """A row whose search failed forgets its moves and tries once more along the gradient."""
        assert isinstance(memory, Moves)  # noqa: S101
        had_moves = memory.rho.abs().sum((1, 2)) > 0
        rho = torch.where(accepted[:, None, None], memory.rho, 0.0)
        iteration = torch.where(accepted[:, None], memory.iteration, 0.0)
        return Moves(memory.s, memory.y, rho, memory.x, memory.gradient, iteration), had_moves

    def _remember(self, memory: Moves, at: Iterate) -> Moves:
        s, y = at.x - memory.x, at.gradient - memory.gradient
        curvature = (s * y).sum(1, keepdim=True)
        usable = (memory.iteration > 0) & (
            curvature > 1e-10 * s.norm(dim=1, keepdim=True) * y.norm(dim=1, keepdim=True)
        )
        rho = torch.where(usable, 1.0 / torch.where(usable, curvature, 1.0), 0.0)
        push = usable[:, :, None]

        def pushed(old: Tensor, new: Tensor) -> Tensor:
            return torch.where(push, torch.cat([old[:, 1:], new[:, None]], dim=1), old)

        return Moves(
            pushed(memory.s, s), pushed(memory.y, y), pushed(memory.rho, rho), at.x, at.gradient, memory.iteration + 1
        )

    def _initial_scale(self, objective: Objective, at: Iterate, moves: Moves) -> Tensor:
        s, y, known = moves.s[:, -1], moves.y[:, -1], moves.rho[:, -1] > 0
        secant = (s * y).sum(1, keepdim=True) / y.square().sum(1, keepdim=True).clamp_min(1e-30)
        return torch.where(known, secant, cauchy_step(objective, at))
