"""The image networks: where they start, the paper's formula, tiles without seams, any size and kernel."""

import pytest
import torch
from torch import Generator, Tensor

from models.deblurring import deblur
from models.deceptronnet import DeceptronNet, NetworkConfig, PaperNet, network_of
from models.unet import TILE, tiled
from physics.blur import BORDERS, FACTORS, Blur, Border, gaussian_noise
from physics.kernels import disk, framed, gaussian, motion
from physics.wiener import Wiener, wiener_start

SMALL = NetworkConfig("shipped", steps=3, widths=(8, 12), blocks=(1, 1), carried=4)
NOISE = torch.tensor([0.02])


def shaken(config: NetworkConfig = SMALL) -> DeceptronNet:
    """A network with random weights everywhere, as after training."""
    network = network_of(config)
    assert isinstance(network, DeceptronNet)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.requires_grad_(False).eval()


def test_before_training_it_is_the_linear_estimate() -> None:
    y, camera = torch.rand(2, 1, 19, 23), Blur(gaussian(1.0))
    start = wiener_start(y, Wiener.of(camera, NOISE, 19, 23))
    for x in network_of(SMALL)(y, camera, NOISE.expand(2)):
        torch.testing.assert_close(x, start)


def test_v0_is_the_papers_update() -> None:
    """x <- clip(x - sigma(gamma) U(up y, up r, x)), r = A(x) - y, from up(y)."""
    network = network_of(NetworkConfig("paper", steps=2, widths=(4, 6)))
    assert isinstance(network, PaperNet)
    camera = Blur(gaussian(1.3, 11), "reflect", 2, "sigmoid")
    y = torch.rand(2, 1, 8, 8)
    raised = y.repeat_interleave(2, -1).repeat_interleave(2, -2)
    x = raised
    for step in network(y, camera, NOISE):
        r = (camera.forward(x) - y).repeat_interleave(2, -1).repeat_interleave(2, -2)
        x = (x - torch.sigmoid(torch.tensor(0.7)) * network.unet(torch.cat([raised, r, x], 1))).clamp(0, 1)
        torch.testing.assert_close(step, x)


@pytest.mark.parametrize("blocks", [(0, 2), (1, 1), (1, 0, 2)])
def test_tiles_give_the_same_values_as_the_whole(blocks: tuple[int, ...]) -> None:
    """To rounding, at every pixel: a tile is computed with all the pixels that it depends on."""
    unet = shaken(NetworkConfig("shipped", widths=(8, 12, 12)[: len(blocks)], blocks=blocks, carried=4)).unet
    features, carried = torch.rand(1, 6, 160, 216), torch.rand(1, 4, 80, 108)
    bias = torch.rand(8)
    for whole, pieces in zip(unet(features, carried, bias), tiled(unet, features, carried, bias, 32), strict=True):
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5 * whole.abs().max().item())


def test_a_smaller_halo_would_leave_seams() -> None:
    unet = shaken(NetworkConfig("shipped", widths=(8, 12), blocks=(0, 2), carried=4)).unet
    features, carried, bias = torch.rand(1, 6, 96, 96), torch.rand(1, 4, 48, 48), torch.rand(8)
    whole = unet(features, carried, bias)[0]
    unet.reach -= 2 * unet.stride
    assert (tiled(unet, features, carried, bias, 32)[0] - whole).abs().max() > 1e-3 * whole.abs().max()


def test_large_images_go_in_tiles_and_come_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    network, camera = shaken(), Blur(motion(7, 20))
    y = torch.rand(1, 1, 20, TILE + 44)
    pieces = deblur(network, y, camera, 0.02)
    monkeypatch.setattr(network.unet, "reach", 10**6)  # each tile then sees the whole image
    torch.testing.assert_close(pieces, deblur(network, y, camera, 0.02), rtol=0, atol=1e-4)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("size", [(1, 1), (5, 8), (33, 18)])
def test_takes_any_size_border_factor_and_kernel(border: Border, factor: int, size: tuple[int, int]) -> None:
    x = deblur(shaken(), torch.rand(1, 1, *size), Blur(disk(3.0), border, factor), 0.02)
    assert x.shape == (1, 1, size[0] * factor, size[1] * factor)
    assert x.isfinite().all()
    assert (x >= 0).all()
    assert (x <= 1).all()


def test_rows_and_channels_do_not_see_each_other() -> None:
    network = shaken()
    y, noise = torch.rand(2, 3, 16, 20), torch.tensor([0.01, 0.03])
    kernels = torch.stack([framed(gaussian(1.0), 9), framed(disk(3.0), 9)])
    alone = deblur(network, y[1:, 2:], Blur(kernels[1]), 0.03)
    torch.testing.assert_close(deblur(network, y[1:], Blur(kernels[1]), 0.03)[:, 2:], alone)
    together = network(y[:, 2:], Blur(kernels), noise)[-1][1:]
    torch.testing.assert_close(together.clamp(0, 1), alone, rtol=0, atol=1e-5)


def test_reports_progress_by_step_and_channel() -> None:
    seen: list[tuple[int, int]] = []
    deblur(shaken(), torch.rand(1, 2, 8, 8), Blur(gaussian(1.0)), 0.02, lambda done, total: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]


def test_a_few_steps_of_training_beat_the_linear_estimate() -> None:
    """On the images it is trained on: the gradient reaches every step, and the update has the right sign."""
    network = network_of(SMALL)
    x = _squares(6, Generator().manual_seed(0))
    camera = Blur(gaussian(1.5))
    y, noise = gaussian_noise(camera.forward(x), 0.01, Generator().manual_seed(1)), torch.full((6,), 0.01)
    before = (network(y, camera, noise)[-1] - x).square().mean()
    adam = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(30):
        adam.zero_grad()
        (network(y, camera, noise)[-1] - x).square().mean().log().backward()
        adam.step()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    assert (network(y, camera, noise)[-1] - x).square().mean() < 0.8 * before


def _squares(count: int, generator: Generator) -> Tensor:
    coarse = torch.rand(count, 1, 4, 4, generator=generator)
    return coarse.repeat_interleave(8, -1).repeat_interleave(8, -2)
