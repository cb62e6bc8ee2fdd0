"""``deceptron bench trust``: do verdicts and error bars hold what they promise, and which shifts does a score see?"""

import torch
from torch import Generator, Tensor

from benchmarks.measure import rmse, timed
from benchmarks.report import Report
from benchmarks.setup import Setup
from benchmarks.shifts import Draw, shifts_of
from models.registry import LoadedModel
from solvers.plans import objective_for, plan_for, rules_for, run_plan
from solvers.solve import Solution
from trust.calibration import Calibration
from trust.scores import EXACT_UP_TO, SCORES, Scored, score
from trust.uncertainty import NORMAL_90, modelled_std
from trust.verdict import OUT_OF_RANGE_BELOW, SUSPECT_BELOW

FRESH_SEED = 7_777_777  # of items that neither training nor calibration drew from
TIMED_BATCH = 256


def run(setup: Setup) -> Report:
    """All models of the registry: coverage and false alarms on fresh items, AUROC by score and family of shift."""
    report = Report(
        "trust", f"deceptron bench trust --items {setup.items} --repeats {setup.repeats}{setup.quick * ' --quick'}"
    )
    fresh, shifted = 4 * setup.items, setup.items
    report.text(
        f"{fresh} fresh in-range items and {shifted} of each family of shift, solved by `auto` under the model's own "
        "preset. AUROC: the share of (in-range, shifted) pairs that the score puts in the right order; .5 is blind. "
        f"*combined* ranks the combined p-value, the one behind the verdict. Models above {EXACT_UP_TO} unknowns have "
        "no error bars, and their hopeless rows take seconds each: they are not measured here."
    )
    names = [name for name in setup.registry.names() if setup.registry.manifest(name).architecture.n <= EXACT_UP_TO]
    names = names[: 1 if setup.quick else None]
    calibrated = [_Judge(setup.registry.load(name)) for name in names]
    inside = {judge.name: judge.in_range(fresh) for judge in calibrated}
    rows = [_promises(judge, *inside[judge.name]) for judge in calibrated]
    columns = ["model", f"p < {SUSPECT_BELOW}", f"p < {OUT_OF_RANGE_BELOW}", "90 % intervals cover", "x-RMSE"]
    report.table("False alarms and coverage on fresh in-range items", [*columns, "diagnose / solve time"], rows)
    for judge in calibrated:
        _auroc_table(report, judge, inside[judge.name][1], shifted)
    return report


class _Judge:
    """A model with its calibration: observations in, scores and p-values out."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.problem, self.name = loaded, loaded.problem, loaded.manifest.name
        self.calibration = Calibration.from_tensors(loaded.calibration)
        self.objective = objective_for(loaded.manifest.preset, self.problem, loaded.deceptron)

    def solve(self, observation: Tensor) -> Solution:
        """By auto, as calibration did."""
        manifest, problem = self.loaded.manifest, self.problem
        plan = plan_for("auto", manifest.preset, problem.n)
        rules = rules_for(manifest.preset, problem.m, manifest.refinements)
        return run_plan(plan, self.objective, observation.to(self.objective.scale), problem.start, rules).solution

    def score(self, solution: Solution, observation: Tensor) -> Scored:
        """The scores of solved items."""
        scale, noise_std = self.objective.scale, self.problem.noise_std
        y, observed = observation.to(scale), self.calibration.observed
        return score(self.loaded.deceptron, scale, noise_std, observed, solution.x, solution.y, y)

    def strangeness(self, observation: Tensor) -> Tensor:
        """Scores and the negative combined p-value (B, S + 1), float64; larger is stranger."""
        scored = self.score(self.solve(observation), observation)
        _, combined = self.calibration.p_values(scored.scores)
        return torch.cat([scored.scores.double().cpu(), -combined[:, None]], dim=1)

    def draw(self, count: int, stream: int) -> Draw:
        """Fresh items."""
        generator = Generator().manual_seed(FRESH_SEED + stream)
        x, clean = self.problem.simulate(count, generator)
        return Draw(self.problem, x, clean, generator)

    def in_range(self, count: int) -> tuple[Draw, Tensor]:
        """Fresh in-range items and their strangeness."""
        draw = self.draw(count, 0)
        return draw, self.strangeness(draw.clean + draw.noise())


def _promises(judge: _Judge, draw: Draw, strangeness: Tensor) -> list[str]:
    p_value = -strangeness[:, -1]
    y = draw.clean + draw.noise()
    batch = y[:TIMED_BATCH]
    judge.score(judge.solve(batch), batch)  # warms up
    solution, solving = timed(lambda: judge.solve(batch))
    _, judging = timed(lambda: judge.calibration.p_values(judge.score(solution, batch).scores))
    solved = judge.solve(y)
    return [
        judge.name,
        f"{(p_value < SUSPECT_BELOW).double().mean().item():.4f}",
        f"{(p_value < OUT_OF_RANGE_BELOW).double().mean().item():.4f}",
        _coverage(judge, solved, y, draw.x),
        f"{rmse(solved.x, draw.x):.4f}",
        f"{judging / solving:.2f}",
    ]


def _coverage(judge: _Judge, solved: Solution, y: Tensor, truth: Tensor) -> str:
    """Share of true values inside x^ +- 1.645 std: over all unknowns, and the worst and best single one."""
    if judge.problem.n > EXACT_UP_TO:
        return "no error bars"
    scored, calibration = judge.score(solved, y), judge.calibration
    scale, noise_std = judge.objective.scale, judge.problem.noise_std
    std = modelled_std(scored, scale, noise_std, calibration.unknown_covariance) * calibration.interval_factor.to(scale)
    inside = ((solved.x - truth).abs() <= NORMAL_90 * std).double().mean(0)
    free = inside[std.amax(0) > 1e-6]
    return f"{inside.mean().item():.3f} ({free.min().item():.3f} to {free.max().item():.3f})"


def _auroc_table(report: Report, judge: _Judge, inside: Tensor, count: int) -> None:
    rows = []
    for stream, (family, shift) in enumerate(shifts_of(judge.problem).items(), start=1):
        strange = judge.strangeness(shift(judge.draw(count, stream)))
        values = [auroc(inside[:, i], strange[:, i]) for i in range(strange.shape[1])]
        caught = (-strange[:, -1] < OUT_OF_RANGE_BELOW).double().mean().item()
        report.keep_rows(model=judge.name, family=family, auroc=dict(zip((*SCORES, "combined"), values, strict=True)))
        rows.append([family, *(f"{value:.3f}" for value in values), f"{caught:.3f}"])
    columns = ["shift", *SCORES, "combined", "called out of range"]
    report.table(f"{judge.name}: AUROC by score", columns, rows)


def auroc(inside: Tensor, outside: Tensor) -> float:
    """P(outside > inside) + P(equal) / 2 over all pairs (Mann and Whitney 1947); NaN counts as largest."""
    inside, outside = (values.double().nan_to_num(nan=torch.inf).contiguous() for values in (inside, outside))
    ordered = inside.sort().values
    below = torch.searchsorted(ordered, outside, side="left").double()
    up_to = torch.searchsorted(ordered, outside, side="right").double()
    return (0.5 * (below + up_to) / len(inside)).mean().item()
