"""Batches in whole fours, so that a row's answer is its own whatever shares its batch.

A matrix product of one to three rows takes another path through BLAS than one of more, adds in another order and
rounds differently; from four rows on (fours, in float64) a row comes out the same to the bit wherever it stands.
Rounding alone would do no harm, but solvers branch and ranks jump on it.
"""

import torch
from torch import Tensor

FOUR = 4


def in_fours(rows: Tensor) -> Tensor:
    """Row numbers, or rows themselves, (K, ...): the last one is repeated until there is a whole number of fours."""
    lacking = -len(rows) % FOUR
    return torch.cat([rows, rows[-1:].expand(lacking, *rows.shape[1:])]) if lacking else rows
