"""Correlation with a kernel: directly where it is small, through Fourier space where that is quicker."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

FOURIER_KERNEL = 64  # elements from which on transforms are quicker: 2 times at 9 x 9, 15 times at 25 x 25
FOURIER_PIXELS = 64 * 64  # of the image; a smaller one is not worth their calls


def correlated(x: Tensor, kernel: Tensor) -> Tensor:
    """sum_j x[i + j] kernel[j], without any border: (B, C, H, W) -> (B, C, H - kh + 1, W - kw + 1).

    Args:
        kernel: (kh, kw), or (B, kh, kw) with one for each image.
    """
    kernel = kernel.to(x)
    if kernel.shape[-2:].numel() >= FOURIER_KERNEL and x.shape[-2:].numel() >= FOURIER_PIXELS:
        return through_fourier(x, kernel)
    return directly(x, kernel)


def directly(x: Tensor, kernel: Tensor) -> Tensor:
    """By sums; this is a graph of plain convolution."""
    batch, channels, height, width = x.shape
    if kernel.ndim == 2:
        out = conv2d(x.reshape(batch * channels, 1, height, width), kernel[None, None])
    else:
        weight = kernel[:, None, None].expand(batch, channels, 1, *kernel.shape[-2:]).flatten(0, 1)
        out = conv2d(x.reshape(1, batch * channels, height, width), weight, groups=batch * channels)
    return out.reshape(batch, channels, *out.shape[-2:])


def through_fourier(x: Tensor, kernel: Tensor) -> Tensor:
    """By transforms. What wraps around falls where the kernel overhangs, and is cut off."""
    height, width = x.shape[-2:]
    rows, columns = kernel.shape[-2:]
    grid = quick_size(height), quick_size(width)
    transfer = torch.fft.rfft2(kernel.flip(-2, -1), s=grid)
    spectrum = torch.fft.rfft2(x, s=grid) * (transfer if kernel.ndim == 2 else transfer[:, None])
    out: Tensor = torch.fft.irfft2(spectrum, s=grid)
    return out[..., rows - 1 : height, columns - 1 : width]


def quick_size(size: int) -> int:
    """The next size whose Fourier transform is quick: even, and of the factors 2, 3 and 5."""
    size += size % 2
    while _left(size) > 1:
        size += 2
    return size


def _left(size: int) -> int:
    for prime in (2, 3, 5):
        while size % prime == 0:
            size //= prime
    return size
