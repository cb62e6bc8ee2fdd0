"""What users get wrong with pictures: each a 4xx that names the field, never a crash."""

import json
from typing import Any

import httpx
import numpy as np
import pytest

from service.arrays import encode_npy
from service.images import encode_png
from tests.service.files import pillow_file, png_around

GREY = encode_png(np.full((20, 24), 0.5), 8)
CLEAR = pillow_file(np.full((20, 24, 4), 100, np.uint8), "PNG")
HUGE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000), }"
HUGE_NPY = b"\x93NUMPY\x01\x00\x4a\x00" + HUGE.ljust(74)
TWICE = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 2 + b"--b--"
IMAGE = [[0.5] * 24] * 20
Case = tuple[int, str, dict[str, Any]]


def form(image: bytes | None = GREY, psf: bytes | None = None, **fields: str) -> dict[str, Any]:
    files: dict[str, Any] = {} if image is None else {"image": ("y.png", image)}
    if psf is not None:
        files["psf"] = ("k", psf)
    return {"files": files or {"other": ("o", b"")}, "data": fields}


def body(**changes: Any) -> dict[str, Any]:
    """A good JSON body, changed; NaN is written as Python writes it."""
    document = {"image": IMAGE, "sigma": 1.0, **changes}
    return {"content": json.dumps(document), "headers": {"Content-Type": "application/json"}}


def bare(content: bytes, media: str, **query: str) -> dict[str, Any]:
    return {"content": content, "params": query, "headers": {"Content-Type": media}}


def multipart(content: bytes, boundary: str = "b") -> dict[str, Any]:
    return bare(content, f"multipart/form-data; boundary={boundary}" if boundary else "multipart/form-data")


CASES: dict[str, Case] = {
    "truncated png": (400, "image", form(GREY[:-30], sigma="1")),
    "a bomb": (422, "image", form(png_around(20000, 20000, 8, 0, b""), sigma="1")),
    "text for a picture": (400, "image", form(b"hello", sigma="1")),
    "an empty file": (400, "image", form(b"", sigma="1")),
    "transparent": (422, "image", form(CLEAR, sigma="1")),
    "no picture": (422, "image", form(None, sigma="1")),
    "no kernel": (422, "psf", form()),
    "two kernels": (422, "sigma", form(psf=GREY, sigma="1")),
    "negative sigma": (422, "psf.gaussian", form(sigma="-1")),
    "sigma as a word": (422, "sigma", form(sigma="wide")),
    "sigma nan": (422, "psf.gaussian.sigma", form(sigma="nan")),
    "a wide sigma": (422, "psf", form(sigma="400")),
    "kernel larger than the picture": (422, "psf", form(sigma="8")),
    "black kernel": (422, "psf", form(psf=encode_png(np.zeros((3, 3)), 8))),
    "negative kernel": (422, "psf", form(psf=encode_npy(np.array([[1.0, -1.0, 1.0]])))),
    "nan in the kernel": (422, "psf", form(psf=encode_npy(np.array([[1.0, np.nan, 1.0]])))),
    "a kernel of three dimensions": (422, "psf", form(psf=encode_npy(np.ones((3, 3, 3))))),
    "a large kernel": (422, "psf", form(psf=encode_npy(np.ones((99, 99))))),
    "a kernel that lies": (422, "psf", form(psf=HUGE_NPY)),
    "half a kernel picture": (400, "psf", form(psf=GREY[:40])),
    "negative noise": (422, "noise_std", form(sigma="1", noise_std="-0.1")),
    "no noise at all": (422, "noise_std", form(sigma="1", noise_std="0")),
    "noise nan": (422, "noise_std", form(sigma="1", noise_std="nan")),
    "noise of 8 bits": (422, "noise_std", form(sigma="1", noise_std="5")),
    "unknown method": (422, "method", form(sigma="1", method="magic")),
    "unknown field": (422, "colour", form(sigma="1", colour="red")),
    "unknown border": (422, "border", form(sigma="1", border="wrap")),
    "factor 3": (422, "downsample", form(sigma="1", downsample="3")),
    "many iterations": (422, "max_iterations", form(sigma="1", max_iterations="1000000000")),
    "no boundary": (400, "", multipart(b"--b--", "")),
    "a form that ends early": (400, "", multipart(b'--b\r\nContent-Disposition: form-data; name="sigma"\r\n\r\n1')),
    "no form at all": (400, "", multipart(b"hello")),
    "twice the same": (400, "", multipart(TWICE)),
    "a part without a name": (400, "", multipart(b"--b\r\nContent-Type: text/plain\r\n\r\n1\r\n--b--\r\n")),
    "json: ragged": (422, "image[1]", body(image=[[0.1, 0.2], [0.1]])),
    "json: nan": (422, "image", body(image=[[0.1, float("nan")], [0.1, 0.2]])),
    "json: 8-bit numbers": (422, "image", body(image=[[0.0, 255.0]] * 20)),
    "json: text": (422, "image", body(image="photo.png")),
    "json: empty": (422, "image", body(image=[])),
    "json: empty rows": (422, "image", body(image=[[], []])),
    "json: two channels": (422, "image", body(image=[[[0.1, 0.2]] * 24] * 20)),
    "json: strings": (422, "image[0][3]", body(image=[["0.5" if i == 3 else 0.5 for i in range(24)]] * 20)),
    "json: true for sigma": (422, "psf.gaussian.sigma", body(sigma=True)),
    "json: infinite sigma": (422, "psf.gaussian.sigma", body(sigma=float("inf"))),
    "json: kernel of zeros": (422, "psf", body(sigma=None, psf=[[0, 0, 0]])),
    "json: unknown kernel": (422, "psf", body(sigma=None, psf={"square": {"side": 3}})),
    "json: a disk without radius": (422, "psf.disk", body(sigma=None, psf={"disk": {}})),
    "json: endless motion": (422, "psf", body(sigma=None, psf={"motion": {"length": 9e5, "degrees": 0}})),
    "json: noise as text": (422, "noise_std", body(noise_std="0.1")),
    "json: factor as text": (422, "downsample", body(downsample="2")),
    "npy that lies": (422, "image", bare(HUGE_NPY, "application/x-npy", sigma="1")),
    "npy with an image in the query": (422, "image", bare(GREY, "image/png", sigma="1", image="y.png")),
    "a gif": (415, "", bare(b"GIF89a", "image/gif", sigma="1")),
    "no content type": (415, "", bare(GREY, "", sigma="1")),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_pictures(http: httpx.Client, name: str) -> None:
    status, field, request = CASES[name]
    answer = http.post("/deblur", **request)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    if field:
        assert field in [error["field"] for error in document["errors"]], document
    assert len(document["detail"]) < 500


def test_what_it_cannot_write(http: httpx.Client) -> None:
    assert http.post("/deblur", **form(sigma="1"), headers={"Accept": "image/webp"}).status_code == 406
    assert http.post("/deblur", **form(sigma="1"), headers={"Content-Encoding": "gzip"}).status_code == 415
