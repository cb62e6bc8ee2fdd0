"""Small U-Nets for images of any size: the paper's, and one that works at half resolution and below."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_shuffle, pixel_unshuffle


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
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))

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
        self.stride = self.fold * 2 ** (len(widths) - 1)
        self.head = nn.Conv2d(inputs * self.fold**2 + carried, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in zip(widths, widths[1:], strict=False))
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Residual(w) for _ in range(n))) for w, n in zip(widths, blocks, strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.merged = nn.ModuleList(Residual(w) for w in widths[:-1])
        self.last = nn.Conv2d(widths[0], self.fold**2 + carried, 3, padding=1)
        nn.init.zeros_(self.last.weight[: self.fold**2])
        nn.init.zeros_(self.last.bias)

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


def padded(u: Tensor, stride: int) -> Tensor:
    """u (B, C, H, W) with its last rows and columns repeated until both sides are multiples of the stride."""
    height, width = u.shape[-2:]
    return pad(u, (0, -width % stride, 0, -height % stride), mode="replicate")


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )
