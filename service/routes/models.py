"""GET /models: model cards and stored examples."""

from typing import Any

from fastapi import APIRouter, Response

from service.answers.models import AnyCard, Cards, Examples, Histograms
from service.deblurring.networks import Networks
from service.inference import Inference
from service.openapi import errors
from service.responses import JSON
from service.state import Services, Shared

router = APIRouter(prefix="/models", tags=["models"], responses=errors(503))


@router.get("", response_model=Cards)
async def models(services: Shared) -> Response:
    """The card of the newest version of every model."""
    return JSON({"models": await services.in_thread(_cards, services)})


@router.get("/{name}", response_model=AnyCard, responses=errors(404))
async def model(name: str, services: Shared, version: int | None = None) -> Response:
    """One model's card: shapes, units, training, calibration, measured limits."""
    return JSON(await services.in_thread(_card, services, name, version))


@router.get("/{name}/examples", response_model=Examples, responses=errors(404))
async def examples(name: str, services: Shared) -> Response:
    """A few held-out observations to try, with the unknowns behind them."""
    return JSON(await services.in_thread(services.inference.examples, name))


@router.get("/{name}/calibration", response_model=Histograms, responses=errors(404))
async def calibration(name: str, services: Shared, version: int | None = None) -> Response:
    """A histogram of every score over the model's calibration set: what usual looks like."""
    return JSON(await services.in_thread(_histograms, services, name, version))


def _cards(services: Services) -> list[dict[str, Any]]:
    inference, networks = services.inference, services.networks
    cards = [inference.card(manifest.name, manifest.version) for manifest in inference.manifests()]
    return cards + [networks.card(name) for name in networks.names()]


def _card(services: Services, name: str, version: int | None) -> dict[str, Any]:
    return _models_like(services, name).card(name, version)


def _histograms(services: Services, name: str, version: int | None) -> dict[str, Any]:
    return _models_like(services, name).histograms(name, version)


def _models_like(services: Services, name: str) -> Networks | Inference:
    return services.networks if name in services.networks.registry.networks() else services.inference
