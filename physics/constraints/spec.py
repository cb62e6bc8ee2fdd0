"""The constraint as it travels in a request: JSON in, Constraint out, strictly read.

    {"box": {"lower": -3, "upper": [..n..]}, "fixed": {"indices": [0, 63], "values": [0, 0]}, "nonnegative": true,
     "l2_ball": {"radius": 2, "center": 0}, "simplex": {"total": 1}}

Every key is optional; together they mean all of them at once.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite

from physics.constraints.base import Constraint, ConstraintError
from physics.constraints.bounds import Box, Fixed, Nonnegative, Unconstrained
from physics.constraints.curved import L2Ball, Simplex
from physics.constraints.intersection import intersect

ROOT = "constraint"


def parse_constraint(spec: Mapping[str, object], n: int) -> Constraint:
    """The constraint on n unknowns that the JSON form describes; ConstraintError names the field that is wrong."""
    fields = _mapping(spec, ROOT, allowed=tuple(_READERS))
    return intersect(*(_READERS[name](value, f"{ROOT}.{name}", n) for name, value in fields.items()))


def _box(value: object, field: str, n: int) -> Constraint:
    fields = _mapping(value, field, allowed=("lower", "upper"))
    if not fields:
        raise ConstraintError(field, "needs lower, upper or both")
    box = Box(**{side: _numbers(values, f"{field}.{side}", n) for side, values in fields.items()})
    lower, upper = box.limits(n)
    lows, highs = (side if isinstance(side, tuple) else (side,) * n for side in (lower, upper))
    for index, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if low > high:
            raise ConstraintError(f"{field}.lower", f"is {low:g} for unknown {index}, above the upper bound {high:g}")
    return box


def _fixed(value: object, field: str, n: int) -> Constraint:
    fields = _mapping(value, field, allowed=("indices", "values"), required=("indices", "values"))
    indices = [_index(item, f"{field}.indices[{k}]", n) for k, item in enumerate(_list(fields, field, "indices"))]
    values = [_number(item, f"{field}.values[{k}]") for k, item in enumerate(_list(fields, field, "values"))]
    for k, index in enumerate(indices):
        if index in indices[:k]:
            raise ConstraintError(f"{field}.indices[{k}]", f"names unknown {index} a second time")
    if len(values) != len(indices):
        raise ConstraintError(f"{field}.values", f"has {len(values)} values for {len(indices)} indices")
    return Fixed(indices, values)


def _nonnegative(value: object, field: str, n: int) -> Constraint:
    if not isinstance(value, bool):
        raise ConstraintError(field, "must be true or false")
    return Nonnegative() if value else Unconstrained()


def _l2_ball(value: object, field: str, n: int) -> Constraint:
    fields = _mapping(value, field, allowed=("radius", "center"), required=("radius",))
    radius = _at_least_zero(fields["radius"], f"{field}.radius")
    return L2Ball(radius, _numbers(fields.get("center", 0), f"{field}.center", n))


def _simplex(value: object, field: str, n: int) -> Constraint:
    fields = _mapping(value, field, allowed=("total",))
    return Simplex(_at_least_zero(fields.get("total", 1), f"{field}.total"))


_READERS: dict[str, Callable[[object, str, int], Constraint]] = {
    "box": _box,
    "fixed": _fixed,
    "nonnegative": _nonnegative,
    "l2_ball": _l2_ball,
    "simplex": _simplex,
}


def _mapping(
    value: object, field: str, allowed: tuple[str, ...], required: tuple[str, ...] = ()
) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConstraintError(field, "must be an object")
    for name in value:
        if name not in allowed:
            raise ConstraintError(f"{field}.{name}", f"is not known here; known: {', '.join(allowed)}")
    for name in required:
        if name not in value:
            raise ConstraintError(f"{field}.{name}", "is missing")
    return value


def _list(fields: Mapping[str, object], field: str, name: str) -> Sequence[object]:
    value = fields[name]
    if not isinstance(value, list | tuple):
        raise ConstraintError(f"{field}.{name}", "must be a list")
    return value


def _numbers(value: object, field: str, n: int) -> float | tuple[float, ...]:
    """One finite number, or a list of n of them."""
    if not isinstance(value, list | tuple):
        return _number(value, field)
    if len(value) != n:
        raise ConstraintError(field, f"has {len(value)} values where the model has {n} unknowns")
    return tuple(_number(item, f"{field}[{k}]") for k, item in enumerate(value))


def _number(value: object, field: str) -> float:
    # bool is an int in Python, but true is not a number in JSON; an int may be too large for a float.
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        number = None
    if number is None or not isfinite(number):
        raise ConstraintError(field, "must be a finite number")
    return number


def _at_least_zero(value: object, field: str) -> float:
    number = _number(value, field)
    if number < 0.0:
        raise ConstraintError(field, f"must be at least 0, is {number:g}")
    return number


def _index(value: object, field: str, n: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < n:
        raise ConstraintError(field, f"must be a whole number between 0 and {n - 1}")
    return value
