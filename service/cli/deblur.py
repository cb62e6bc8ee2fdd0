"""`deceptron deblur`."""

import gc
from pathlib import Path

import click

from service.arrays import encode_npy
from service.cli.invert import KEY, RETRIES
from service.client.pictures import DeblurOptions, deblur_form, read_answer
from service.client.types import Result


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--sigma", type=float, help="The blur is a Gaussian of this standard deviation (pixels).")
@click.option(
    "--psf", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The blur as a picture or npy."
)
@click.option("--noise-std", type=float, help="Noise of a pixel, where white is 1.  [estimated]")
@click.option("--method", help="dnet, wiener, richardson_lucy, lm, gd or lbfgs.  [the service's own]")
@click.option("--downsample", type=int, help="The camera averaged 2 or 4 pixels each way: the answer is larger.")
@click.option("--border", help="What lies beyond the edge: reflect, zero or periodic.  [reflect]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="PNG or npy.  [IMAGE.sharp.png]")
@click.option("--url", help="A running service; without it the work is done in this process.")
@KEY
def deblur(
    image: Path,
    sigma: float | None,
    psf: Path | None,
    noise_std: float | None,
    method: str | None,
    downsample: int | None,
    border: str | None,
    out: Path | None,
    url: str | None,
    key: str | None,
) -> None:
    """Sharpen the photograph IMAGE (PNG, TIFF, JPEG or npy), whose blur is known by --sigma or --psf."""
    if (sigma is None) == (psf is None):
        raise click.UsageError("give the blur by --sigma or by --psf, one of them")
    options = DeblurOptions(method=method, noise_std=noise_std, downsample=downsample, border=border)
    out = out or image.with_suffix(".sharp.png")
    source = (image, psf, sigma, options)
    content, result = (
        _remote(url, key, *source, npy=out.suffix == ".npy") if url else _local(*source, npy=out.suffix == ".npy")
    )
    out.write_bytes(content)
    click.echo(summary(result))
    click.echo(f"sharper picture: {out}")


def summary(result: Result) -> str:
    """One line: the method and its cost, the noise, the residual, the verdict where there is one."""
    item = result.items[0]
    rms, noise_std = item.residual_rms or 0.0, float(item.document["noise_std"])
    verdict = item.diagnostics.verdict if item.diagnostics else None
    took_s = (result.timing.solve_s or 0.0) + (result.timing.diagnose_s or 0.0)
    judged = f", verdict {verdict}" if verdict else ""
    return (
        f"{result.method}: {item.status} after {item.iterations} iterations, residual {rms / noise_std:.2f} x noise "
        f"({noise_std:.4f}){judged}; {took_s:.2f} s on {result.device}"
    )


def _remote(
    url: str,
    key: str | None,
    image: Path,
    psf: Path | None,
    sigma: float | None,
    options: DeblurOptions,
    *,
    npy: bool,
) -> tuple[bytes, Result]:
    from service.client import Client

    with Client(url, key=key, retries=RETRIES) as client:
        found = client.deblur(image, psf=psf, sigma=sigma, options=options)
        return encode_npy(found.x) if npy else client.picture(found.job), found.result


def _local(
    image: Path, psf: Path | None, sigma: float | None, options: DeblurOptions, *, npy: bool
) -> tuple[bytes, Result]:
    gc.disable()  # what imports make lives on: to look for garbage among it costs a sixth of a second
    from service.cli.local_deblur import deblur_locally

    gc.enable()
    found = deblur_locally(*deblur_form(image, psf, sigma, options))
    return found.npy() if npy else found.png(), read_answer(found.document(None, False))
