"""The Open Inference Protocol, spoken by NVIDIA's own client, and by hand where that client would not go wrong."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from service.arrays import decode_npy, encode_npy
from service.protocols.open_inference import DATATYPES, OUTPUTS
from tests.service.conftest import MAX_WAIT_S, WAIT, Service

PATH = "/v2/models/oscillator/infer"


@pytest.fixture(scope="module")
def server(service: Service) -> Iterator[triton.InferenceServerClient]:
    found = triton.InferenceServerClient(service.url.removeprefix("http://"), network_timeout=MAX_WAIT_S + 20.0)
    yield found
    found.close()


def tensor(observations: np.ndarray, datatype: str, binary: bool) -> triton.InferInput:
    given = triton.InferInput("observations", list(observations.shape), datatype)
    given.set_data_from_numpy(observations.astype(DATATYPES[datatype]), binary_data=binary)
    return given


def own_answer(http: httpx.Client, observations: np.ndarray) -> dict[str, Any]:
    """What our own endpoint says of the same observations."""
    body = {"model": "oscillator", "observations": observations.tolist()}
    answer: dict[str, Any] = http.post("/invert", json=body, headers=WAIT).json()["result"]
    return answer


def test_triton_client_finds_server_and_model(server: triton.InferenceServerClient) -> None:
    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.is_model_ready("heat1d")
    assert not server.is_model_ready("nothing")
    assert server.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = server.get_model_metadata("heat1d")
    assert metadata["inputs"] == [{"name": "observations", "datatype": "FP64", "shape": [-1, 64]}]
    assert {output["name"]: output["datatype"] for output in metadata["outputs"]} == OUTPUTS


@pytest.mark.parametrize(("datatype", "binary"), [("FP64", True), ("FP64", False), ("FP32", True), ("FP32", False)])
def test_triton_client_gets_our_answers(
    server: triton.InferenceServerClient, http: httpx.Client, observations: np.ndarray, datatype: str, binary: bool
) -> None:
    few = observations[:3].astype(DATATYPES[datatype])
    found = server.infer("oscillator", [tensor(few, datatype, binary)], model_version="1", request_id="mine")
    own = own_answer(http, few)["items"]
    assert found.get_response()["id"] == "mine"
    np.testing.assert_allclose(found.as_numpy("x"), [item["x"] for item in own], rtol=1e-6)
    for name in ("rjcp", "p_value"):
        np.testing.assert_allclose(found.as_numpy(name), [item["diagnostics"][name] for item in own], rtol=1e-6)
    assert found.as_numpy("iterations").tolist() == [item["iterations"] for item in own]
    assert [v.decode() for v in found.as_numpy("verdict")] == [item["diagnostics"]["verdict"] for item in own]
    assert [s.decode() for s in found.as_numpy("status")] == [item["status"] for item in own]


@pytest.mark.parametrize("binary", [True, False])
def test_triton_client_chooses_outputs_and_options(
    server: triton.InferenceServerClient, observations: np.ndarray, binary: bool
) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("iterations", "verdict")]
    given = [tensor(observations[:2], "FP64", True)]
    found = server.infer("oscillator", given, outputs=outputs, parameters={"method": "oneshot"})
    assert found.as_numpy("iterations").tolist() == [0, 0]
    assert len(found.as_numpy("verdict")) == 2
    assert found.as_numpy("x") is None


@pytest.mark.parametrize(
    ("model", "datatype", "shape", "sentence"),
    [
        ("nothing", "FP64", (1, 64), "no model named"),
        ("oscillator", "FP64", (1, 63), "63 values per observation"),
        ("oscillator", "FP64", (1, 2, 64), "3 dimensions"),
    ],
)
def test_triton_client_is_told_what_is_wrong(
    server: triton.InferenceServerClient, model: str, datatype: str, shape: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(InferenceServerException, match=sentence):
        server.infer(model, [tensor(np.zeros(shape), datatype, True)])


def test_a_row_without_an_answer_is_nan_and_null(server: triton.InferenceServerClient) -> None:
    far = np.full((1, 64), 1e300)
    found = server.infer("oscillator", [tensor(far, "FP64", True)])
    assert np.isnan(found.as_numpy("x")).all()
    assert found.as_numpy("status")[0] == b"nonfinite"
    assert found.as_numpy("verdict")[0] == b""


GOOD: dict[str, Any] = {"name": "observations", "datatype": "FP64", "shape": [1, 2], "data": [0.0, 1.0]}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "inputs"),
    ({"inputs": []}, "inputs"),
    ({"inputs": "x"}, "inputs"),
    ({"inputs": [1]}, "inputs[0]"),
    ({"inputs": [{**GOOD, "name": "x"}]}, "inputs[0].name"),
    ({"inputs": [{**GOOD, "datatype": "BYTES"}]}, "inputs[0].datatype"),
    ({"inputs": [{**GOOD, "datatype": []}]}, "inputs[0].datatype"),
    ({"inputs": [{**GOOD, "shape": [1, -2]}]}, "inputs[0].shape"),
    ({"inputs": [{**GOOD, "shape": [1, True]}]}, "inputs[0].shape"),
    ({"inputs": [{**GOOD, "shape": [1, 3]}]}, "inputs[0].data"),
    ({"inputs": [{**GOOD, "data": [[0.0], 1.0]}]}, "inputs[0].data"),
    ({"inputs": [{**GOOD, "data": [0.0, "1"]}]}, "inputs[0].data[1]"),
    ({"inputs": [{**GOOD, "data": [0.0, 10**400]}]}, "inputs[0].data"),
    ({"inputs": [{**GOOD, "data": [0.0, float("nan")]}]}, "inputs[0][0][1]"),
    ({"inputs": [{**GOOD, "parameters": {"binary_data_size": 16}}]}, "inputs[0].parameters.binary_data_size"),
    ({"inputs": [{**GOOD, "parameters": {"binary_data_size": 1}}]}, "inputs[0].parameters.binary_data_size"),
    ({"inputs": [GOOD], "outputs": [{"name": "y"}]}, "outputs[0].name"),
    ({"inputs": [GOOD], "outputs": [{"name": "x"}, {"name": "x"}]}, "outputs"),
    ({"inputs": [GOOD], "parameters": []}, "parameters"),
    ({"inputs": [GOOD], "id": 1}, "id"),
    ({"inputs": [GOOD], "parameters": {"method": "magic"}}, "method"),
    ({"inputs": [GOOD], "parameters": {"max_iterations": -1}}, "max_iterations"),
]


@pytest.mark.parametrize(("document", "field"), WRONG)
def test_a_wrong_request_names_its_field(http: httpx.Client, document: dict[str, Any], field: str) -> None:
    response = http.post(PATH, content=json.dumps(document))
    told = response.json()
    assert response.status_code == 422, told
    assert [error["field"] for error in told["errors"]] == [field]
    assert told["error"] == told["detail"]


@pytest.mark.parametrize(("length", "status"), [("x", 422), ("-1", 422), ("9" * 30, 422), ("999999", 400), ("3", 400)])
def test_a_wrong_header_length_is_refused(http: httpx.Client, length: str, status: int) -> None:
    headers = {"Inference-Header-Content-Length": length}
    response = http.post(PATH, content=json.dumps({"inputs": [GOOD]}), headers=headers)
    assert response.status_code == status


def test_raw_bytes_must_be_as_many_as_promised(http: httpx.Client) -> None:
    named = {"name": "observations", "datatype": "FP64", "shape": [1, 64], "parameters": {"binary_data_size": 512}}
    text = json.dumps({"inputs": [named]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    assert http.post(PATH, content=text + bytes(511), headers=headers).status_code == 422
    assert http.post(PATH, content=text + bytes(512), headers=headers).status_code == 200


@pytest.mark.parametrize("version", ["0", "-1", "one", "9" * 20])
def test_a_version_is_a_whole_number(http: httpx.Client, version: str) -> None:
    assert http.get(f"/v2/models/heat1d/versions/{version}").status_code == 422


def test_npy_and_tensors_agree_to_the_bit(
    server: triton.InferenceServerClient, http: httpx.Client, observations: np.ndarray
) -> None:
    few = observations[:4]
    params = {"model": "oscillator"}
    headers = {"Content-Type": "application/x-npy", **WAIT}
    job = http.post("/invert", content=encode_npy(few), params=params, headers=headers).json()
    stacked = decode_npy(http.get(job["links"]["result"], headers={"Accept": "application/x-npy"}).content)
    assert np.array_equal(server.infer("oscillator", [tensor(few, "FP64", True)]).as_numpy("x"), stacked)
