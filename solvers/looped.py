"""A graph of D-IPG's step made into one that takes several: as long as all rows go on and there is nothing to book.

    repeat:  here <- trial,  trial <- step(here)     until `most` steps, or a row refuses, arrives or stalls

Between two such events the loop in `solvers.solve` would only hand tensors back and forth, which for a single row costs
several times what the step does. The last step is handed over whole, with where it began, for the loop to judge.
"""

from collections.abc import Iterable

import onnx
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto
from onnx.helper import make_graph, make_model, make_node, make_tensor, make_tensor_value_info

STATE = ("x", "y", "residual", "misfit")
FIXED = ("observation", "one_shot")
LIMITS = ("level", "pace")
SINGLE = make_tensor_value_info


def looped(step: bytes) -> bytes:
    """The model around one of `solvers.step.step_of_tensors`.

    (x, y, residual, misfit, y*, g(y*), most, level, pace)
        -> (steps taken, here, trial, enough, gradient, shift), here and trial being four tensors each.
    """
    model = onnx.load_from_string(step)
    body, outputs = model.graph, list(model.graph.output)
    _rename(body, dict(zip((value.name for value in body.input), (*_at("at"), *FIXED), strict=True)))
    inputs, last = list(body.input), ("enough", "gradient", "shift")[: len(outputs) - len(STATE)]
    moving = [*zip(_at("here"), outputs, strict=False), *zip((*_at("trial"), *last), outputs, strict=True)]
    loop = make_node(
        "Loop",
        ["most", "", "none", *STATE, *STATE, *(f"first_{name}" for name in last)],
        ["taken", *(name for name, _ in moving)],
        body=_body(body, [*_at("passed"), *_at("at"), *(f"passed_{name}" for name in last)]),
    )
    scalars = [SINGLE("most", TensorProto.INT64, []), *(SINGLE(name, TensorProto.FLOAT, []) for name in LIMITS)]
    graph = make_graph(
        [
            make_node("Equal", ["misfit", "misfit"], ["first_enough"]),
            *(make_node("Identity", ["x"], [f"first_{name}"]) for name in last[1:]),
            loop,
        ],
        "steps",
        [*(_like(value, name) for value, name in zip(inputs, (*STATE, *FIXED), strict=True)), *scalars],
        [SINGLE("taken", TensorProto.INT64, []), *(_like(value, name) for name, value in moving)],
        [make_tensor("none", TensorProto.INT64, [], [0])],
    )
    made = make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(made)
    data: bytes = made.SerializeToString()
    return data


def _body(step: GraphProto, carried: Iterable[str]) -> GraphProto:
    """One turn: the step from ``at``, and whether there is nothing to book."""
    outputs = list(step.output)
    misfit, enough = outputs[len(STATE) - 1].name, outputs[len(STATE)].name
    like = [*outputs[: len(STATE)], *outputs]
    nodes = [
        *step.node,
        *(make_node("Identity", [name], [left]) for name, left in zip(_at("at"), _at("left"), strict=True)),
        make_node("Add", ["taken_before", "one"], ["taken_now"]),
        *_quiet(misfit, enough),
    ]
    return make_graph(
        nodes,
        "step",
        [
            SINGLE("turn", TensorProto.INT64, []),
            SINGLE("go_on", TensorProto.BOOL, []),
            SINGLE("taken_before", TensorProto.INT64, []),
            *(_like(value, name) for value, name in zip(like, carried, strict=True)),
        ],
        [
            SINGLE("quiet", TensorProto.BOOL, []),
            SINGLE("taken_now", TensorProto.INT64, []),
            *(_like(value, name) for value, name in zip(outputs, _at("left"), strict=False)),
            *outputs,
        ],
        [*step.initializer, make_tensor("one", TensorProto.INT64, [], [1])],
    )


def _quiet(misfit: str, enough: str) -> list[NodeProto]:
    """Whether every row accepted its step, is above the level still, and got on."""
    return [
        make_node("Greater", [misfit, "level"], ["above"]),
        make_node("Mul", ["at_misfit", "pace"], ["at_most"]),
        make_node("LessOrEqual", [misfit, "at_most"], ["got_on"]),
        make_node("And", [enough, "above"], ["unfinished"]),
        make_node("And", ["unfinished", "got_on"], ["silent"]),
        make_node("Cast", ["silent"], ["silent_number"], to=TensorProto.FLOAT),
        make_node("ReduceMin", ["silent_number"], ["least"], keepdims=0),
        make_node("Cast", ["least"], ["quiet"], to=TensorProto.BOOL),
    ]


def _at(place: str) -> tuple[str, ...]:
    return tuple(f"{place}_{name}" for name in STATE)


def _like(value: ValueInfoProto, name: str) -> ValueInfoProto:
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = name
    return copy


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    for value in graph.input:
        value.name = names[value.name]
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
