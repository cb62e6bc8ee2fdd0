"""How many rows a batch may have: whole fours, or one of a few sizes, by repeating its last row.

A row's answer is its own whatever shares its batch only from four rows on: a matrix product of one to three takes
another path through BLAS than one of more, adds in another order and rounds differently; from four rows on (fours, in
float64) a row comes out the same to the bit wherever it stands. Rounding alone would do no harm, but solvers branch
and ranks jump on it.

An engine that compiles, captures or tunes itself by shape wants more than that: few sizes, which it can be shown before
the first request comes.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

FOUR = 4


@dataclass(frozen=True)
class Sizes:
    """``buckets``: the sizes there are, in ascending order; none: all multiples of four."""

    buckets: tuple[int, ...] = ()

    @classmethod
    def up_to(cls, most: int) -> Self:
        """Buckets: four, and its doubles as far as ``most`` goes."""
        sizes = [FOUR]
        while 2 * sizes[-1] <= most:
            sizes.append(2 * sizes[-1])
        return cls(tuple(sizes))

    def of(self, rows: int) -> int:
        """The least size that holds so many rows; beyond the largest bucket, the next multiple of four.

        >>> Sizes().of(5), Sizes((4, 8, 16)).of(9), Sizes((4,)).of(9)
        (8, 16, 12)
        """
        return next((size for size in self.buckets if size >= rows), rows + -rows % FOUR)

    def fill(self, rows: Tensor) -> Tensor:
        """Row numbers, or rows themselves, (K, ...), the last one repeated up to the next size; none stay none."""
        lacking = self.of(len(rows)) - len(rows) if len(rows) else 0
        return torch.cat([rows, rows[-1:].expand(lacking, *rows.shape[1:])]) if lacking else rows


FOURS = Sizes()
