"""The classical methods of the deblurring benchmark, and the choice of their parameters on validation scenes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.deblur_cases import Case, psnr
from physics.total_variation import total_variation
from physics.wiener import Wiener
from solvers.image_plans import run_iterative
from solvers.images import richardson_lucy, wiener
from solvers.plans import rules_for

Method = Callable[[Case], Tensor]
Parametrised = Callable[[Case, float], Tensor]
ITERATIVE = ("lm", "gd", "lbfgs")


def _wiener(case: Case, balance: float) -> Tensor:
    return wiener(case.y, case.blur, case.camera.noise_std, balance)


def _richardson_lucy(case: Case, iterations: float) -> Tensor:
    return richardson_lucy(case.y, case.blur, case.camera.noise_std, int(iterations))


def _total_variation(case: Case, weight: float) -> Tensor:
    noise_std = torch.tensor([case.camera.noise_std])
    return total_variation(case.y, Wiener.of(case.blur, noise_std, *case.y.shape[-2:]), noise_std, weight)


def _iterative(name: str) -> Parametrised:
    def solved(case: Case, tolerance: float) -> Tensor:
        """To that residual, in units of the noise."""
        rules = replace(rules_for("product", case.y.numel()), tolerance=tolerance)
        return run_iterative(case.y, case.blur, case.camera.noise_std, name, rules).x

    return solved


FAMILIES: dict[str, tuple[str, Parametrised, tuple[float, ...]]] = {
    "wiener": ("balance", _wiener, (25, 50, 100, 200, 400, 800)),
    "richardson_lucy": ("iterations", _richardson_lucy, (10, 20, 40, 80, 120)),
    "tv": ("weight", _total_variation, (0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)),
    "lm": ("tolerance", _iterative("lm"), (1.01, 1.03, 1.1)),
    "gd": ("tolerance", _iterative("gd"), (1.01, 1.03, 1.1)),
    "lbfgs": ("tolerance", _iterative("lbfgs"), (1.01, 1.03, 1.1)),
}


@dataclass(frozen=True)
class Tuned:
    """The best parameter of each family for each camera: (family, camera) -> value."""

    chosen: dict[tuple[str, str], float]

    def describe(self) -> str:
        """One phrase a family."""
        phrases = []
        for family, (parameter, _, _) in FAMILIES.items():
            values = [f"{value:g}" for (name, _), value in self.chosen.items() if name == family]
            phrases.append(f"{family} {parameter} {', '.join(values)}")
        return "; ".join(phrases)


def tuned(known: Sequence[Case], quick: bool = False) -> Tuned:
    """The value with the best mean PSNR over the known cases of each camera; the first one of each where quick."""
    chosen = {}
    for family in FAMILIES:
        for camera in dict.fromkeys(case.camera.name for case in known):
            own = [case for case in known if case.camera.name == camera]
            chosen[family, camera] = best_value(family, own, quick)
    return Tuned(chosen)


def best_value(family: str, own: Sequence[Case], quick: bool = False) -> float:
    """The parameter of a family with the best mean PSNR over one camera's known cases; the first one where quick."""
    _, method, values = FAMILIES[family]
    return values[0] if quick else max(values, key=partial(_quality, method, own))


def classical(camera: str, settings: Tuned) -> dict[str, Method]:
    """Every family with the parameter chosen for a camera."""
    return {family: _with(method, settings.chosen[family, camera]) for family, (_, method, _) in FAMILIES.items()}


def _with(method: Parametrised, value: float) -> Method:
    return lambda case: method(case, value)


def _quality(method: Parametrised, own: Sequence[Case], value: float) -> float:
    return sum(psnr(method(case, value), case.x) for case in own)
