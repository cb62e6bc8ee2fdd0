"""The JSON form of constraints, and the refusal of those that nothing satisfies."""

import json
from typing import Any

import pytest
import torch

from physics.constraints import (
    Box,
    Constraint,
    ConstraintError,
    Fixed,
    Intersection,
    L2Ball,
    Nonnegative,
    Simplex,
    Unconstrained,
    check_feasible,
    intersect,
    parse_constraint,
)

N = 4


def test_every_key_is_read() -> None:
    spec = json.loads(
        '{"box": {"lower": -3, "upper": [1, 2, 3, 4.5]}, "fixed": {"indices": [0, 3], "values": [0, 0.5]},'
        ' "nonnegative": true, "l2_ball": {"radius": 2, "center": [0, 0, 0, 1]}, "simplex": {"total": 1}}'
    )
    expected = intersect(
        Box(-3, [1, 2, 3, 4.5]), Fixed([0, 3], [0, 0.5]), Nonnegative(), L2Ball(2, [0, 0, 0, 1]), Simplex(1)
    )
    assert parse_constraint(spec, N) == expected
    check_feasible(expected, N)
    assert expected.project(torch.randn(3, N)).sum(-1).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, Unconstrained()),
        ({"nonnegative": False}, Unconstrained()),
        ({"box": {"lower": 0}}, Box(lower=0)),
        ({"box": {"upper": 0}}, Box(upper=0)),
        ({"l2_ball": {"radius": 2}}, L2Ball(2)),
        ({"simplex": {}}, Simplex(1)),
    ],
)
def test_defaults(spec: dict[str, Any], expected: Constraint) -> None:
    assert parse_constraint(spec, N) == expected


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ([], "constraint"),
        (None, "constraint"),
        ({"boxx": {}}, "constraint.boxx"),
        ({"box": 3}, "constraint.box"),
        ({"box": {}}, "constraint.box"),
        ({"box": {"low": 3}}, "constraint.box.low"),
        ({"box": {"lower": float("nan")}}, "constraint.box.lower"),
        ({"box": {"lower": float("inf")}}, "constraint.box.lower"),
        ({"box": {"lower": True}}, "constraint.box.lower"),
        ({"box": {"lower": "0"}}, "constraint.box.lower"),
        ({"box": {"lower": None}}, "constraint.box.lower"),
        ({"box": {"lower": 10**400}}, "constraint.box.lower"),
        ({"box": {"lower": [0, 0, 0]}}, "constraint.box.lower"),
        ({"box": {"upper": [0, 0, False, 0]}}, "constraint.box.upper[2]"),
        ({"box": {"lower": 2, "upper": 1}}, "constraint.box.lower"),
        ({"fixed": {"indices": [0]}}, "constraint.fixed.values"),
        ({"fixed": {"indices": 0, "values": [1]}}, "constraint.fixed.indices"),
        ({"fixed": {"indices": [0, 4], "values": [1, 1]}}, "constraint.fixed.indices[1]"),
        ({"fixed": {"indices": [-1], "values": [1]}}, "constraint.fixed.indices[0]"),
        ({"fixed": {"indices": [1.0], "values": [1]}}, "constraint.fixed.indices[0]"),
        ({"fixed": {"indices": [True], "values": [1]}}, "constraint.fixed.indices[0]"),
        ({"fixed": {"indices": [1, 1], "values": [1, 1]}}, "constraint.fixed.indices[1]"),
        ({"fixed": {"indices": [1, 2], "values": [1]}}, "constraint.fixed.values"),
        ({"fixed": {"indices": [1], "values": [None]}}, "constraint.fixed.values[0]"),
        ({"nonnegative": 1}, "constraint.nonnegative"),
        ({"l2_ball": {}}, "constraint.l2_ball.radius"),
        ({"l2_ball": {"radius": -1}}, "constraint.l2_ball.radius"),
        ({"l2_ball": {"radius": 1, "center": [0]}}, "constraint.l2_ball.center"),
        ({"simplex": {"total": -1}}, "constraint.simplex.total"),
        ({"simplex": {"total": [1]}}, "constraint.simplex.total"),
        ({"simplex": {"total": 1, "radius": 1}}, "constraint.simplex.radius"),
    ],
)
def test_what_is_wrong_is_named(spec: Any, field: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        parse_constraint(spec, N)
    assert caught.value.field == field
    assert caught.value.reason


INFEASIBLE = {
    "crossed box": (Box([0, 0, 2, 0], 1), "constraint.box"),
    "crossed boxes": (intersect(Box(2, 3), Box(0, 1)), "constraint.box"),
    "box beyond numbers": (Box(float("inf")), "constraint.box"),
    "box of nan": (Box(float("nan"), 1.0), "constraint.box"),
    "box of another length": (Box([0, 0], 1), "constraint.box.lower"),
    "fixed outside the box": (intersect(Box(-3, 3), Fixed([1], [4])), "constraint.fixed"),
    "fixed at two values": (intersect(Fixed([1], [4]), Fixed([1], [5])), "constraint.fixed"),
    "fixed where nothing is": (Fixed([4], [4]), "constraint.fixed.indices"),
    "negative radius": (L2Ball(-1), "constraint.l2_ball.radius"),
    "center of another length": (L2Ball(1, [0, 0]), "constraint.l2_ball.center"),
    "ball out of the box": (intersect(Box(1, 2), L2Ball(1.9)), "constraint.l2_ball.radius"),
    "negative total": (Simplex(-1), "constraint.simplex.total"),
    "simplex above the box": (intersect(Simplex(5), Box(0, 1)), "constraint.simplex.total"),
    "simplex below the box": (intersect(Simplex(1), Box(0.5, 1)), "constraint.simplex.total"),
    "simplex in a negative box": (intersect(Simplex(0), Box(-2, -1)), "constraint.simplex"),
    "simplex out of the ball": (intersect(Simplex(4), L2Ball(1)), "constraint.l2_ball.radius"),
    "two simplexes": (intersect(Simplex(1), Simplex(2)), "constraint.simplex.total"),
    "two balls apart": (intersect(L2Ball(1), L2Ball(1, [0, 3, 0, 0])), "constraint.l2_ball.radius"),
    "dykstra: simplex above the box": (Intersection((Simplex(5), Box(0, 1))), "constraint.simplex.total"),
    "three balls, two by two": (
        Intersection((L2Ball(1.01, [-1, 0, 0, 0]), L2Ball(1.01, [1, 0, 0, 0]), L2Ball(1.01, [0, 1.5, 0, 0]))),
        "constraint",
    ),
}


@pytest.mark.parametrize("name", INFEASIBLE)
def test_infeasible_is_refused(name: str) -> None:
    constraint, field = INFEASIBLE[name]
    with pytest.raises(ConstraintError) as caught:
        check_feasible(constraint, N)
    assert caught.value.field == field


@pytest.mark.parametrize("constraint", [Unconstrained(), Box(1, 1), Fixed([0], [9]), L2Ball(0), Simplex(0)])
def test_single_points_and_everything_are_feasible(constraint: Constraint) -> None:
    check_feasible(constraint, N)
    assert constraint.contains(constraint.project(torch.randn(3, N))).all()
