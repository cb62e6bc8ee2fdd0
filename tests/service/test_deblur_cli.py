"""`deceptron deblur` and the clients' `deblur`, with a service and without."""

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import save
from service.client import AsyncClient, Client, ClientError, DeblurOptions, Problem
from service.images import decode_image
from tests.models.stored import network, network_manifest_of
from tests.service.conftest import Service
from tests.service.test_cli import deceptron
from tests.service.test_deblur import GREY, SIGMA, observed, picture, rms

WIENER = DeblurOptions(method="wiener")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(GREY)
    return path


def test_here_and_there_agree(service: Service, photo: Path, tmp_path: Path) -> None:
    words = ["deblur", str(photo), "--sigma", f"{SIGMA}", "--method", "wiener"]
    code, said, complaints = deceptron(*words)
    assert code == 0, complaints
    assert "Warning" not in complaints
    assert said.startswith("wiener: ")
    assert "x noise" in said
    here = photo.with_suffix(".sharp.png").read_bytes()
    code, said, _ = deceptron(*words, "--url", service.url, "--out", str(tmp_path / "there.npy"))
    assert code == 0, said
    there = np.load(tmp_path / "there.npy")
    np.testing.assert_allclose(picture(here), there, atol=0.51 / 255)
    truth, blurred = observed()
    assert rms(picture(here), truth) < rms(blurred, truth)


@pytest.mark.parametrize("url", [True, False])
def test_complaints_are_one_sentence(service: Service, photo: Path, url: bool) -> None:
    where = ["--url", service.url] if url else []
    code, _, complaints = deceptron("deblur", str(photo), "--sigma", "-1", "--method", "wiener", *where)
    assert code == 1
    assert "psf.gaussian" in complaints
    assert len(complaints.splitlines()) == 1
    assert deceptron("deblur", str(photo))[0] == 2


def test_kernel_as_a_file(photo: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.ones((3, 5)))
    code, _, complaints = deceptron("deblur", str(photo), "--psf", str(tmp_path / "k.npy"), "--method", "wiener")
    assert code == 0, complaints
    assert "Warning" not in complaints


def test_the_client(client: Client, photo: Path) -> None:
    found = client.deblur(photo, sigma=SIGMA, options=WIENER)
    assert found.x.shape == (48, 64)
    assert found.item.document["noise_std"] > 0
    assert found.item.residual_rms is not None
    assert found.result.method == "wiener"
    assert decode_image(client.picture(found.job), 2**20).bits == 8
    kernel = np.ones((3, 3))
    again = client.deblur(observed(3)[1], psf=kernel, options=DeblurOptions("lbfgs", noise_std=0.001, max_iterations=2))
    assert again.x.shape == (48, 64, 3)
    assert 1 <= (again.item.iterations or 0) <= 2


def test_the_client_s_errors(client: Client) -> None:
    with pytest.raises(Problem, match="image"):
        client.deblur(b"nothing", sigma=1.0, options=WIENER)
    with pytest.raises(ClientError, match="one of them"):
        client.deblur(GREY)
    with pytest.raises(ClientError, match="not complex128"):
        client.deblur(np.zeros((4, 4), complex), sigma=1.0)


def test_the_async_client(service: Service) -> None:
    async def both() -> list[tuple[int, ...]]:
        async with AsyncClient(service.url, progress=False) as client:
            found = await asyncio.gather(*(client.deblur(GREY, sigma=s, options=WIENER) for s in (1.0, 2.0)))
            return [one.x.shape for one in found]

    assert asyncio.run(both()) == [(48, 64), (48, 64)]


def test_networks_are_listed_beside_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, network_manifest_of(name="sharper"), network(), {})
    monkeypatch.setenv("DECEPTRON_CHECKPOINTS", str(tmp_path))
    code, said, complaints = deceptron("models")
    assert code == 0, complaints
    assert re.search(r"sharper\s+1\s+deblur\s+an image\s+an image\s+dnet wiener", said), said
