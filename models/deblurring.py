"""A blurred image in, a sharper one out: any size, any number of channels, in bounded memory."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from models.deceptronnet import DeceptronNet, ImageNetwork
from physics.blur import Blur
from physics.wiener import Wiener

Progress = Callable[[int, int], None]


@torch.no_grad()
def deblur(network: ImageNetwork, y: Tensor, blur: Blur, noise_std: float, progress: Progress | None = None) -> Tensor:
    """y (B, C, h, w) -> x (B, C, h factor, w factor) in [0, 1]; each channel of each image by itself.

    Args:
        noise_std: of y, in its units.
        progress: called with steps done and steps in all.
    """
    planes, steps = y.flatten(0, 1)[:, None], network.config.steps
    noise = y.new_tensor([noise_std])
    restored = []
    for i, plane in enumerate(planes):
        report = partial(_report, progress, i * steps, len(planes) * steps) if progress else None
        restored.append(_restored(network, plane[None], blur, noise, report))
    out = torch.cat(restored).clamp(0.0, 1.0)
    return out.reshape(*y.shape[:2], *out.shape[-2:])


def _report(progress: Progress, before: int, total: int, step: int) -> None:
    progress(before + step, total)


def _restored(
    network: ImageNetwork, y: Tensor, blur: Blur, noise_std: Tensor, report: Callable[[int], None] | None
) -> Tensor:
    """One plane (1, 1, h, w), keeping no step but the last."""
    if not isinstance(network, DeceptronNet):
        last: Tensor = network(y, blur, noise_std)[-1]
        return last
    linear = Wiener.of(blur, noise_std, *y.shape[-2:])
    x = network.beginning(y, linear, noise_std)
    still, carried = network.still(y, x, blur, noise_std), network.nothing_carried(x)
    for t in range(network.config.steps):
        x, carried = network.step(t, x, carried, still, y, blur, linear)
        if report:
            report(t + 1)
    return x
