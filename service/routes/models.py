"""GET /models: model cards and stored examples."""

from typing import Any

from fastapi import APIRouter, Response

from service.inference import Inference
from service.responses import JSON
from service.state import Shared

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", response_class=JSON)
async def models(services: Shared) -> Response:
    """The card of the newest version of every model."""
    return JSON({"models": await services.in_thread(_cards, services.inference)})


@router.get("/{name}", response_class=JSON)
async def model(name: str, services: Shared, version: int | None = None) -> Response:
    """One model's card: shapes, units, training, calibration, measured limits."""
    return JSON(await services.in_thread(services.inference.card, name, version))


@router.get("/{name}/examples", response_class=JSON)
async def examples(name: str, services: Shared) -> Response:
    """A few held-out observations to try, with the unknowns behind them."""
    return JSON(await services.in_thread(services.inference.examples, name))


@router.get("/{name}/calibration", response_class=JSON)
async def calibration(name: str, services: Shared, version: int | None = None) -> Response:
    """A histogram of every score over the model's calibration set: what usual looks like."""
    return JSON(await services.in_thread(services.inference.histograms, name, version))


def _cards(inference: Inference) -> list[dict[str, Any]]:
    return [inference.card(manifest.name, manifest.version) for manifest in inference.manifests()]
