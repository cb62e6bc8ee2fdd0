"""UM-Bridge 1.0, spoken by the protocol's own client: values and derivatives of f and g agree with the physics."""

import json
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import umbridge

from physics.problem import load_problem
from tests.service.conftest import Service

HEAT = load_problem("heat1d_nonlinear")


@pytest.fixture(scope="module")
def forward(service: Service) -> umbridge.HTTPModel:
    return umbridge.HTTPModel(service.url, "heat1d_nonlinear-forward")


@pytest.fixture(scope="module")
def inverse(service: Service) -> umbridge.HTTPModel:
    return umbridge.HTTPModel(service.url, "heat1d_nonlinear-inverse")


@pytest.fixture(scope="module")
def point() -> tuple[np.ndarray, np.ndarray]:
    """An unknown and a direction, both (64,)."""
    x, _ = HEAT.simulate(2, torch.Generator().manual_seed(5))
    return x[0].numpy(), x[1].numpy()


def test_info_lists_both_sides_of_every_model(service: Service, http: httpx.Client) -> None:
    names = umbridge.supported_models(service.url)
    models = [card["name"] for card in http.get("/models").json()["models"] if card["kind"] == "deceptron"]
    assert sorted(names) == sorted(f"{model}-{side}" for model in models for side in ("forward", "inverse"))


def test_what_is_supported(forward: umbridge.HTTPModel) -> None:
    assert forward.supports_evaluate()
    assert forward.supports_gradient()
    assert forward.supports_apply_jacobian()
    assert not forward.supports_apply_hessian()
    assert forward.get_input_sizes() == [HEAT.n]
    assert forward.get_output_sizes({"version": 1}) == [HEAT.m]


def test_forward_is_the_physics(forward: umbridge.HTTPModel, point: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = point
    (y,) = forward([x.tolist()])
    np.testing.assert_allclose(y, HEAT.forward(torch.from_numpy(x)[None])[0], rtol=1e-12)


@pytest.mark.parametrize("side", ["forward", "inverse"])
def test_jacobian_agrees_with_differences(
    side: str, request: pytest.FixtureRequest, point: tuple[np.ndarray, np.ndarray]
) -> None:
    model, (at, along) = request.getfixturevalue(side), point
    step = 1e-6
    ends = [np.array(model([(at + sign * step * along).tolist()])[0]) for sign in (1, -1)]
    found = model.apply_jacobian(0, 0, [at.tolist()], along.tolist())
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("side", ["forward", "inverse"])
def test_gradient_is_the_adjoint(
    side: str, request: pytest.FixtureRequest, point: tuple[np.ndarray, np.ndarray]
) -> None:
    model, (at, along) = request.getfixturevalue(side), point
    sens = np.cos(np.arange(64.0))
    pulled = model.gradient(0, 0, [at.tolist()], sens.tolist())
    pushed = model.apply_jacobian(0, 0, [at.tolist()], along.tolist())
    assert np.dot(pulled, along) == pytest.approx(np.dot(sens, pushed), rel=1e-10)


GOOD = {"name": "heat1d-forward", "input": [[0.0] * 64], "config": {}}
WRONG: list[tuple[str, dict[str, Any], int]] = [
    ("Evaluate", {}, 422),
    ("Evaluate", {**GOOD, "name": "heat1d"}, 404),
    ("Evaluate", {**GOOD, "name": "none-forward"}, 404),
    ("Evaluate", {**GOOD, "name": 3}, 422),
    ("Evaluate", {**GOOD, "input": [[0.0] * 63]}, 422),
    ("Evaluate", {**GOOD, "input": [0.0] * 64}, 422),
    ("Evaluate", {**GOOD, "input": []}, 422),
    ("Evaluate", {**GOOD, "input": [[float("nan")] * 64]}, 422),
    ("Evaluate", {"name": "heat1d_nonlinear-forward", "input": [[1e200] * 64]}, 422),
    ("Evaluate", {**GOOD, "config": {"version": 99}}, 404),
    ("Evaluate", {**GOOD, "config": {"precision": 3}}, 422),
    ("Gradient", {**GOOD, "outWrt": 0, "inWrt": 0}, 422),
    ("Gradient", {**GOOD, "outWrt": 1, "inWrt": 0, "sens": [0.0] * 64}, 422),
    ("ApplyJacobian", {**GOOD, "outWrt": 0, "inWrt": 0, "vec": [0.0]}, 422),
]


@pytest.mark.parametrize(("endpoint", "document", "status"), WRONG)
def test_wrong_requests_are_told_why(http: httpx.Client, endpoint: str, document: dict[str, Any], status: int) -> None:
    response = http.post(f"/{endpoint}", content=json.dumps(document))
    assert response.status_code == status, response.text
    assert response.json()["error"] == {"type": "InvalidInput", "message": response.json()["detail"]}


def test_the_client_raises_our_sentence(forward: umbridge.HTTPModel) -> None:
    with pytest.raises(Exception, match="must be a list of 64 numbers"):
        forward([[1.0]])
