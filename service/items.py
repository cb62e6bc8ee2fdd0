"""From a solved batch to the items of an API result: status, cost, diagnostics and verdict of every row."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.registry import LoadedModel
from solvers.method import CHARGES, Objective
from solvers.plans import Outcome, Plan
from solvers.solve import Status
from trust.calibration import Calibration
from trust.scores import SCORES, Scored, score
from trust.uncertainty import modelled_std
from trust.verdict import reasons, verdict

Item = dict[str, Any]


def items_of(
    loaded: LoadedModel,
    calibration: Calibration,
    objective: Objective,
    plan: Plan,
    outcome: Outcome,
    observation: Tensor,
    calibrated: bool,
) -> tuple[np.ndarray, list[Item]]:
    """x (B, n) with NaN where there is no answer, and one item a row.

    Args:
        observation: y* (B, m) on the model's device and in its dtype.
        calibrated: whether the rows were solved as the calibration items were; else verdicts are only indicative.
    """
    solution, problem = outcome.solution, loaded.problem
    answered = solution.status != Status.NONFINITE
    x = torch.where(answered[:, None], solution.x, torch.nan).cpu().numpy()
    items = _solver_items(plan, outcome, observation)
    rows = answered.nonzero()[:, 0]
    if len(rows):
        scored = score(
            loaded.deceptron,
            objective.scale,
            problem.noise_std,
            calibration.observed,
            solution.x[rows],
            solution.y[rows],
            observation[rows],
        )
        active = objective.constraint.active(solution.x[rows]).tolist()
        for row, found, held in zip(rows.tolist(), _diagnostics(loaded, calibration, scored), active, strict=True):
            items[row]["diagnostics"] = {**found, "active_bounds": held, "calibrated": calibrated}
    if problem.identifiable is not None:
        values = problem.identifiable.of(solution.x).tolist()
        for row in rows.tolist():
            items[row]["identifiable"] = dict(zip(problem.identifiable.names, values[row], strict=True))
    return x, items


def _solver_items(plan: Plan, outcome: Outcome, observation: Tensor) -> list[Item]:
    solution = outcome.solution
    residual_rms = (solution.y - observation).square().mean(1).sqrt().tolist()
    columns = (
        solution.status.tolist(),
        outcome.solved_by.tolist(),
        solution.iterations.tolist(),
        residual_rms,
        solution.residual_rms.tolist(),
        solution.cost.tolist(),
    )
    items = [
        {
            "status": Status(status).name.lower(),
            "solved_by": plan[stage].name,
            "iterations": iterations,
            "residual_rms": rms,
            "residual_normalised": normalised,
            "cost": dict(zip(CHARGES, cost, strict=True)),
            "diagnostics": None,
            "error": _error(Status(status)),
        }
        for status, stage, iterations, rms, normalised, cost in zip(*columns, strict=True)
    ]
    if solution.history is not None:
        for item, trace, fit in zip(items, solution.history, solution.y.tolist(), strict=True):
            item["history"] = trace[trace.isfinite()].tolist()
            item["fit"] = fit
    return items


def _error(status: Status) -> dict[str, str] | None:
    if status is not Status.NONFINITE:
        return None
    return {"type": "nonfinite", "detail": f"{status.sentence} Check its magnitude and units."}


def _diagnostics(loaded: LoadedModel, calibration: Calibration, scored: Scored) -> list[Item]:
    each, combined = calibration.p_values(scored.scores)
    extras = _resolution_and_std(loaded, calibration, scored)
    items = []
    for row, (values, p_values, p_value) in enumerate(
        zip(scored.scores.tolist(), each.tolist(), combined.tolist(), strict=True)
    ):
        named = dict(zip(SCORES, p_values, strict=True))
        item: Item = dict(zip(SCORES, values, strict=True))
        item |= {
            "rjcp_p_value": named["rjcp"],
            "rjcp_standard_error": float(scored.rjcp_standard_error[row]),
            "p_values": named,
            "p_value": p_value,
            "verdict": str(verdict(p_value)),
            "reasons": reasons(p_value, named),
        }
        items.append(item | {name: block[row] for name, block in extras.items()})
    return items


def _resolution_and_std(loaded: LoadedModel, calibration: Calibration, scored: Scored) -> dict[str, list[list[float]]]:
    """diag R and one standard deviation per unknown, where the Jacobians are explicit."""
    if scored.resolution is None:
        return {}
    problem = loaded.problem
    scale = torch.tensor(problem.scale).to(scored.resolution)
    std = modelled_std(scored, scale, problem.noise_std, calibration.unknown_covariance)
    std = std * calibration.interval_factor.to(std)
    return {"resolution": scored.resolution.tolist(), "std": std.tolist()}
