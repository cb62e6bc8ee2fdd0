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
from trust.judge import Judge
from trust.scores import SCORES, Scored
from trust.uncertainty import NORMAL_90
from trust.verdict import OUT_OF_RANGE_BELOW, SUSPECT_BELOW

IN_RANGE = "in range"
FRESH_SEED = 7_777_777  # of items that neither training nor calibration drew from
TIMED_BATCH, TIMED_REPEATS = 256, 5
HOPELESS = {64: 100, 512: 8}  # above so many unknowns, items of a family: rows that cannot be fitted take seconds each
BARS = {64: 500, 512: 60}  # and items whose error bars are checked


def run(setup: Setup) -> Report:
    """All models of the registry: coverage and false alarms on fresh items, AUROC by score and family of shift."""
    report = Report(
        "trust", f"deceptron bench trust --items {setup.items} --repeats {setup.repeats}{setup.quick * ' --quick'}"
    )
    fresh, shifted = 4 * setup.items, setup.items
    report.text(
        f"{fresh} fresh in-range items and {shifted} of each family of shift (fewer where a row without a fit takes "
        "seconds: the column *items*), solved by `auto` under the model's own preset. AUROC: the share of (in-range, "
        "shifted) pairs that the score puts in the right order; .5 is blind. *combined* ranks the combined p-value, "
        "the one behind the verdict."
    )
    names = setup.registry.names()[: 1 if setup.quick else None]
    tested = [_Tested(setup.registry.load(name)) for name in (("heat1d",) if setup.quick else names)]
    inside = {each.name: each.in_range(fresh) for each in tested}
    rows = [_promises(report, each, *inside[each.name]) for each in tested]
    columns = ["model", f"p < {SUSPECT_BELOW}", f"p < {OUT_OF_RANGE_BELOW}", "90 % intervals cover", "x-RMSE"]
    columns += ["solve, us an item", "judge, us an item", "judge / solve"]
    report.table("False alarms and coverage on fresh in-range items", columns, rows)
    for each in tested:
        _auroc_table(report, each, inside[each.name][2], shifted)
    return report


class _Tested:
    """A model with its judge: observations in, scores and p-values out."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.judge, self.problem, self.name = Judge.of(loaded), loaded.problem, loaded.manifest.name
        self.objective = objective_for(loaded.manifest.preset, self.problem, loaded.deceptron)

    def solve(self, observation: Tensor) -> Solution:
        """By auto, as calibration did."""
        manifest, problem = self.judge.loaded.manifest, self.problem
        plan = plan_for("auto", manifest.preset, problem.n)
        rules = rules_for(manifest.preset, problem.m, manifest.refinements)
        return run_plan(plan, self.objective, observation.to(self.objective.scale), problem.start, rules).solution

    def score(self, solution: Solution, observation: Tensor) -> Scored:
        """The scores of solved items."""
        return self.judge.score(self.objective, solution.x, solution.y, observation.to(self.objective.scale))

    def strangeness(self, solution: Solution, observation: Tensor) -> Tensor:
        """Scores and the negative combined p-value (B, S + 1), float64; larger is stranger."""
        scored = self.score(solution, observation)
        _, combined = self.judge.calibration.p_values(scored.scores)
        return torch.cat([scored.scores.cpu(), -combined[:, None]], dim=1)

    def draw(self, count: int, stream: int) -> Draw:
        """Fresh items."""
        generator = Generator().manual_seed(FRESH_SEED + stream)
        x, clean = self.problem.simulate(count, generator)
        return Draw(self.problem, x, clean, generator)

    def in_range(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The truths and observations of fresh in-range items, and their strangeness."""
        draw = self.draw(count, 0)
        y = draw.clean + draw.noise()
        return draw.x, y, self.strangeness(self.solve(y), y)

    def at_most(self, count: int, limits: dict[int, int]) -> int:
        """``count``, or what the limits allow for this many unknowns."""
        return min([count, *(most for above, most in limits.items() if self.problem.n > above)])


def _promises(report: Report, tested: _Tested, truth: Tensor, y: Tensor, strangeness: Tensor) -> list[str]:
    p_value = -strangeness[:, -1]
    solved = tested.solve(y)
    suspect, outside = ((p_value < level).double().mean().item() for level in (SUSPECT_BELOW, OUT_OF_RANGE_BELOW))
    inside = _coverage(tested, solved, y, truth)
    covered = inside.mean().item()
    promises = {"suspect_or_worse": suspect, "out_of_range": outside, "covered_by_90": covered}
    report.keep_rows(model=tested.name, family=IN_RANGE, items=len(y), measured=promises)
    return [
        tested.name,
        f"{suspect:.4f}",
        f"{outside:.4f}",
        f"{covered:.3f} ({inside.min().item():.3f} to {inside.max().item():.3f})",
        f"{rmse(solved.x, truth):.4f}",
        *_cost(tested, y[:TIMED_BATCH]),
    ]


def _cost(tested: _Tested, batch: Tensor) -> list[str]:
    """Microseconds an item of solving and of judging at this batch, and their ratio; the best of a few, in turns."""
    solving, judging = [], []
    for _ in range(1 + TIMED_REPEATS):  # the first one warms up
        solution, solve_s = timed(lambda: tested.solve(batch))
        _, judge_s = timed(lambda: tested.strangeness(solution, batch))  # noqa: B023
        solving.append(solve_s)
        judging.append(judge_s)
    best_solve_s, best_judge_s = min(solving[1:]), min(judging[1:])
    per_item = (f"{1e6 * seconds / len(batch):.1f}" for seconds in (best_solve_s, best_judge_s))
    return [*per_item, f"{best_judge_s / best_solve_s:.2f}"]


def _coverage(tested: _Tested, solved: Solution, y: Tensor, truth: Tensor) -> Tensor:
    """Share of true values inside x^ +- 1.645 std, for each unknown that is free to vary."""
    count = tested.at_most(len(y), BARS)
    x, fit = solved.x[:count], solved.y[:count]
    scored = tested.judge.score(tested.objective, x, fit, y[:count].to(x))
    std = tested.judge.uncertainty(scored, x, fit).std
    inside = ((x - truth[:count]).abs() <= NORMAL_90 * std).double().mean(0)
    return inside[std.amax(0) > 1e-6]


def _auroc_table(report: Report, tested: _Tested, inside: Tensor, count: int) -> None:
    count, rows = tested.at_most(count, HOPELESS), []
    for stream, (family, shift) in enumerate(shifts_of(tested.problem).items(), start=1):
        y = shift(tested.draw(count, stream))
        strange = tested.strangeness(tested.solve(y), y)
        values = [auroc(inside[:, i], strange[:, i]) for i in range(strange.shape[1])]
        caught = (-strange[:, -1] < OUT_OF_RANGE_BELOW).double().mean().item()
        named = dict(zip((*SCORES, "combined"), values, strict=True))
        report.keep_rows(model=tested.name, family=family, items=count, measured={**named, "out_of_range": caught})
        rows.append([family, str(count), *(f"{value:.3f}" for value in values), f"{caught:.3f}"])
    columns = ["shift", "items", *(name.replace("_", " ") for name in SCORES), "combined", "called out of range"]
    report.table(f"{tested.name}: AUROC by score", columns, rows)


def auroc(inside: Tensor, outside: Tensor) -> float:
    """P(outside > inside) + P(equal) / 2 over all pairs (Mann and Whitney 1947); NaN counts as largest."""
    inside, outside = (values.double().nan_to_num(nan=torch.inf).contiguous() for values in (inside, outside))
    ordered = inside.sort().values
    below = torch.searchsorted(ordered, outside, side="left").double()
    up_to = torch.searchsorted(ordered, outside, side="right").double()
    return (0.5 * (below + up_to) / len(inside)).mean().item()
