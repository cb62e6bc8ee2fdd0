"""The shape of a POST /deblur: the strict model of its parameters, and what /docs shows of its bodies."""

from typing import Literal

from pydantic import Field

from service.schemas import ArrayObject, Name, Strict

Method = Literal["dnet", "wiener", "richardson_lucy", "lm", "gd", "lbfgs"]

DEFAULT_MODEL = "deblur"


class DeblurParameters(Strict):
    """Everything but the picture and its point spread function."""

    model: Name = Field(default=DEFAULT_MODEL, description="a network of GET /models; only method dnet looks at it")
    version: int | None = Field(default=None, ge=1, description="null: the newest")
    method: Method | None = Field(default=None, description="null: dnet, or wiener where there is no network deblur")
    noise_std: float | None = Field(
        default=None, gt=0, le=1, description="noise of a pixel, where black is 0 and white 1; null: estimated"
    )
    downsample: int = Field(default=1, description="1, 2 or 4: the camera averaged so many pixels each way")
    border: Literal["reflect", "zero", "periodic"] = Field(default="reflect", description="what lies beyond the edge")
    max_iterations: int | None = Field(default=None, ge=1, description="cap on iterations; null: the method's own")


class Sigma(Strict):
    sigma: float


class Gaussian(Strict):
    gaussian: Sigma


class Radius(Strict):
    radius: float


class Disk(Strict):
    disk: Radius


class Line(Strict):
    length: float
    degrees: float


class Motion(Strict):
    motion: Line


class DeblurRequestBody(DeblurParameters):
    """Documentation only: the JSON body. Either psf or sigma."""

    image: list[list[float]] | list[list[list[float]]] | ArrayObject = Field(
        description="H x W, or H x W x 3; floats with 0 black and 1 white, or an array object of uint8 or uint16"
    )
    psf: list[list[float]] | ArrayObject | Gaussian | Disk | Motion | None = None
    sigma: float | None = Field(default=None, description="short for psf: a Gaussian of that standard deviation")


class DeblurForm(DeblurParameters):
    """Documentation only: the form. Either psf or sigma."""

    image: bytes = Field(description="a PNG, TIFF, JPEG or npy file")
    psf: bytes | None = Field(default=None, description="a PNG, TIFF, JPEG or npy file, or JSON as in the other bodies")
    sigma: float | None = None
