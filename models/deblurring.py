"""A blurred image in, a sharper one out: any size, any number of channels, in bounded memory."""

from collections.abc import Callable, Iterator

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
    planes, steps = y.flatten(0, 1)[:, None, None], network.config.steps
    noise = y.new_tensor([noise_std])
    answers = []
    for i, plane in enumerate(planes):
        x = plane
        for t, step in enumerate(trajectory(network, plane, blur, noise)):
            x = step
            if progress and t:
                progress(i * steps + t, len(planes) * steps)
        answers.append(x)
    out = torch.cat(answers).clamp(0.0, 1.0)
    return out.reshape(*y.shape[:2], *out.shape[-2:])


def trajectory(network: ImageNetwork, y: Tensor, blur: Blur, noise_std: Tensor) -> Iterator[Tensor]:
    """x_0 to x_N of one plane (1, 1, h, w), not clipped, none of them kept; v0 gives y for its x_0."""
    if not isinstance(network, DeceptronNet):
        yield from (y, *network(y, blur, noise_std))
        return
    linear = Wiener.of(blur, noise_std, *y.shape[-2:])
    x = network.beginning(y, linear, noise_std)
    yield x
    still, carried = network.still(y, x, blur, noise_std), network.nothing_carried(x)
    for t in range(network.config.steps):
        x, carried = network.step(t, x, carried, still, y, blur, linear)
        yield x
