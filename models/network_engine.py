"""The image networks' graphs in PyTorch's place; start, blur and Fourier transforms stay with PyTorch.

``unet``   features, carried, bias -> correction, carried: what a worker runs, tile by tile
``steps``  all six steps in one call (models/network_graphs.py), for pictures that need no tiles
"""

import torch
from torch import Tensor

from models.deceptronnet import DeceptronNet
from models.engine import open_session
from models.network_graphs import steps_inputs
from physics.blur import Blur

NETWORK_GRAPHS = ("unet", "steps")


class _Session:
    """A graph on the CPU; raises as ``open_session`` does."""

    def __init__(self, data: bytes) -> None:
        self._session = open_session(data, "cpu")
        self._names = [each.name for each in self._session.get_inputs()]

    def run(self, *tensors: Tensor) -> list[Tensor]:
        """All outputs, for inputs in the graph's order."""
        feed = {name: tensor.detach().numpy() for name, tensor in zip(self._names, tensors, strict=True)}
        return [torch.from_numpy(output) for output in self._session.run(None, feed)]


class UNetGraph(_Session):
    """A ``Corrector``."""

    def __init__(self, data: bytes, reach: int) -> None:
        super().__init__(data)
        self.reach = reach

    def __call__(self, features: Tensor, carried: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """As ``HalfUNet.forward``."""
        dx, carried_on = self.run(features, carried, bias)
        return dx, carried_on


class StepsGraph(_Session):
    """All steps at once, for one plane at full resolution with a mirrored border."""

    def __call__(self, network: DeceptronNet, y: Tensor, blur: Blur, noise_std: Tensor) -> Tensor:
        """y (1, 1, H, W), noise_std (1,) -> x_N, not clipped; the network gives the start."""
        return self.run(*steps_inputs(network, y, blur, noise_std))[0]
