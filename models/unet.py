"""Small U-Nets for images of any size: the paper's, and one that works at half resolution and below."""

from itertools import pairwise, product
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_shuffle, pixel_unshuffle

TILE = 512  # pixels, a multiple of every stride


class PaperUNet(nn.Module):
    """One scale, bilinear up, ReLU: 32 channels at full resolution, 64 at half (arXiv 2511.21076, DeceptronNet v0)."""

    stride = 2

    def __init__(self, inputs: int, widths: tuple[int, ...] = (32, 64)) -> None:
        super().__init__()
        wide, wider = widths
        self.inputs = inputs
        self.encode = _pair(inputs, wide)
        self.below = _pair(wide, wider)
        self.decode = _pair(wide + wider, wide)
        self.last = nn.Conv2d(wide, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 1, H, W); H and W even."""
        top = self.encode(features)
        below = self.below(nn.functional.max_pool2d(top, 2))
        up = interpolate(below, scale_factor=2.0, mode="bilinear", align_corners=False)
        out: Tensor = self.last(self.decode(torch.cat([top, up], 1)))
        return out


class Residual(nn.Module):
    """u + C2(relu(C1(u))), both over 3 x 3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.body = nn.Sequential(first, nn.ReLU(), second)

    def forward(self, u: Tensor) -> Tensor:
        """(B, width, H, W) -> the same."""
        out: Tensor = u + self.body(u)
        return out


class HalfUNet(nn.Module):
    """Pixels are first folded into channels, 2 x 2 to one, so all of it runs at half resolution and below.

    Args:
        inputs: feature channels at full resolution.
        carried: channels at half resolution that the caller hands from one call to the next.
        widths: channels at half resolution, a quarter, an eighth, ...
        blocks: residual blocks at each scale, on the way down; one on the way up.
    """

    fold = 2

    def __init__(self, inputs: int, carried: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.inputs, self.carried = inputs, carried
        self.stride = self.fold << (len(widths) - 1)
        self.reach = self._reach(blocks)
        self.head = nn.Conv2d(inputs * self.fold**2 + carried, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Residual(w) for _ in range(n))) for w, n in zip(widths, blocks, strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.merged = nn.ModuleList(Residual(w) for w in widths[:-1])
        self.last = nn.Conv2d(widths[0], self.fold**2 + carried, 3, padding=1)
        with torch.no_grad():  # no correction at first: training starts at the linear estimate
            self.last.weight[: self.fold**2] = 0.0
            self.last.bias.zero_()  # type: ignore[union-attr]

    def _reach(self, blocks: tuple[int, ...]) -> int:
        """Pixels to each side that a value may depend on, as a multiple of the stride."""
        merged = [1] * (len(blocks) - 1) + [0]  # one more block on the way up, but at the lowest scale
        convolved = 2 + sum(2 * (n + m) << scale for scale, (n, m) in enumerate(zip(blocks, merged, strict=True)))
        return (self.fold * convolved // self.stride + 1) * self.stride

    def forward(self, features: Tensor, carried: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs, H, W), (B, carried, H / 2, W / 2), bias (widths[0],) -> (B, 1, H, W) and the new carried.

        H and W are multiples of ``stride``.
        """
        u = self.head(torch.cat([pixel_unshuffle(features, self.fold), carried], 1)) + bias[:, None, None]
        skipped = []
        for scale, blocks in enumerate(self.blocks):
            u = blocks(u if scale == 0 else self.down[scale - 1](u))
            skipped.append(u)
        for scale in reversed(range(len(self.up))):
            u = self.merged[scale](skipped[scale] + pixel_shuffle(self.up[scale](u), 2))
        out = self.last(u)
        return pixel_shuffle(out[:, : self.fold**2], self.fold), out[:, self.fold**2 :]


class Corrector(Protocol):
    """A HalfUNet, on whatever engine."""

    reach: int

    def __call__(self, features: Tensor, carried: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """As ``HalfUNet.forward``."""
        ...


def tiled(unet: Corrector, features: Tensor, carried: Tensor, bias: Tensor, tile: int = TILE) -> tuple[Tensor, Tensor]:
    """The U-Net in tiles of tile x tile pixels where the image is larger: the same values, in bounded memory.

    A tile is computed with ``unet.reach`` pixels around it, all that its values depend on, so there are no seams.
    """
    height, width = features.shape[-2:]
    if max(height, width) <= tile:
        return unet(features, carried, bias)
    dx, carried_on = features.new_empty(features.shape[0], 1, height, width), torch.empty_like(carried)
    for top, left in product(range(0, height, tile), range(0, width, tile)):
        rows, inner_rows = _with_halo(top, tile, unet.reach, height)
        columns, inner_columns = _with_halo(left, tile, unet.reach, width)
        here = unet(features[..., rows, columns], carried[..., _folded(rows), _folded(columns)], bias)
        target = slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
        dx[..., target[0], target[1]] = here[0][..., inner_rows, inner_columns]
        carried_on[..., _folded(target[0]), _folded(target[1])] = here[1][
            ..., _folded(inner_rows), _folded(inner_columns)
        ]
    return dx, carried_on


def _with_halo(first: int, tile: int, halo: int, size: int) -> tuple[slice, slice]:
    """Where a tile and its surroundings lie in the image, and where the tile lies in those."""
    start, stop = max(0, first - halo), min(size, first + tile + halo)
    return slice(start, stop), slice(first - start, min(first + tile, size) - start)


def _folded(pixels: slice) -> slice:
    return slice(pixels.start // HalfUNet.fold, pixels.stop // HalfUNet.fold)


def padded(u: Tensor, stride: int) -> Tensor:
    """u (B, C, H, W) with its last rows and columns repeated until both sides are multiples of the stride."""
    height, width = u.shape[-2:]
    return pad(u, (0, -width % stride, 0, -height % stride), mode="replicate")


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )
