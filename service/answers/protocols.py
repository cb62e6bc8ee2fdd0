"""What the Open Inference Protocol and UM-Bridge are answered with; their member names are those protocols' own."""

from typing import Literal

from pydantic import Field

from service.answers.base import Answer, Real, absent

# --------------------------------------------------------------------------------------- Open Inference Protocol

Datatype = Literal["FP64", "INT64", "BYTES"]


class ServerMetadata(Answer):
    name: str
    version: str
    extensions: list[str]


class ServerLive(Answer):
    live: bool


class ServerReady(Answer):
    ready: bool


class ModelReady(Answer):
    name: str
    ready: bool


class TensorMetadata(Answer):
    name: str
    datatype: Datatype
    shape: list[int] = Field(description="-1: any length")


class ModelMetadata(Answer):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Tensor(Answer):
    name: str
    datatype: Datatype
    shape: list[int]
    data: list[Real] | list[str] = Field(description="row by row; null or an empty string where there is no answer")


class InferResponse(Answer):
    """In JSON as a whole; raw bytes of tensors follow where the request asked for them."""

    model_name: str
    model_version: str
    outputs: list[Tensor]
    id: str = absent("the request's, if it had one")


# ---------------------------------------------------------------------------------------------------- UM-Bridge


class Info(Answer):
    protocolVersion: float
    models: list[str]


class Support(Answer):
    Evaluate: bool
    Gradient: bool
    ApplyJacobian: bool
    ApplyHessian: bool


class ModelInfo(Answer):
    support: Support


class InputSizes(Answer):
    inputSizes: list[int]


class OutputSizes(Answer):
    outputSizes: list[int]


class Evaluated(Answer):
    output: list[list[float]] = Field(description="one vector")


class Applied(Answer):
    output: list[float]
