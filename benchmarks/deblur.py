"""``deceptron bench deblur``: the paper's table on smoothed noise, and photographs against the classics and a U-Net."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import process_time

from torch import Tensor

from benchmarks.charts import Picture
from benchmarks.deblur_cases import MARGIN, Case, cases, psnr, ssim
from benchmarks.deblur_cost import cost_tables
from benchmarks.deblur_factors import factor_table
from benchmarks.deblur_gains import Gain, gain_goals
from benchmarks.deblur_methods import ITERATIVE, Method, Tuned, classical, tuned
from benchmarks.deblur_paper import paper_table
from benchmarks.report import Report
from benchmarks.setup import Setup
from models.deblurring import deblur
from models.registry import LoadedNetwork
from training.photographs import Use
from trust.images import IMAGE_SCORES, ImageCalibration, judge_image

OURS, ONESHOT = "deblur", "deblur-oneshot"
NOISE_SEEDS = 3
WINDOW = 96  # pixels of a photograph on the contact sheet
QUICK_SIDE = 96


@dataclass(frozen=True)
class Score:
    """What one method made of one case."""

    case: Case
    method: str
    psnr: float
    ssim: float
    cpu_s: float
    image: Tensor


def run(setup: Setup) -> Report:
    """Both parts; the photographs need the extras ``train`` and ``bench``."""
    report = Report("deblur", setup.command("deblur"))
    paper_table(setup, report)
    _photographs(setup, report)
    factor_table(setup, report)
    if OURS in setup.registry.networks():
        cost_tables(setup, report, OURS)
    return report


def _photographs(setup: Setup, report: Report) -> None:
    side, scenes_at_most = (QUICK_SIDE, 2) if setup.quick else (256, None)
    known = cases(Use.VALIDATION, 1, side, scenes_at_most)
    unknown = cases(Use.TEST, 1 if setup.quick else NOISE_SEEDS, side, scenes_at_most)
    settings = tuned(known, setup.quick)
    there = set(setup.registry.networks())
    networks = {name: setup.registry.load_network(name) for name in (OURS, ONESHOT) if name in there}
    scores = [score for case in unknown for score in _all_methods(case, settings, networks)]
    _tables(report, scores, settings)
    report.picture(contact_sheet(scores))
    if OURS in networks:
        _strange(report, networks[OURS], side, scenes_at_most)
    for score in scores:
        report.keep_rows(
            scene=score.case.scene,
            camera=score.case.camera.name,
            seed=score.case.seed,
            method=score.method,
            psnr=score.psnr,
            ssim=score.ssim,
            cpu_s=score.cpu_s,
        )


def _all_methods(case: Case, settings: Tuned, networks: dict[str, LoadedNetwork]) -> list[Score]:
    """Every method on one case; those that iterate without a prior take their time, and get the first seed only."""
    methods: dict[str, Method] = {"blurred": lambda case: case.y, **classical(case.camera.name, settings)}
    methods |= {name: partial(_restored, loaded) for name, loaded in networks.items()}
    kept = {name: method for name, method in methods.items() if case.seed == 0 or name not in ITERATIVE}
    return [_scored(case, name, method) for name, method in kept.items()]


def _restored(loaded: LoadedNetwork, case: Case) -> Tensor:
    return deblur(loaded.network, case.y, case.blur, case.camera.noise_std)


def _scored(case: Case, name: str, method: Callable[[Case], Tensor]) -> Score:
    began = process_time()
    x = method(case)
    seconds = process_time() - began
    return Score(case, name, psnr(x, case.x), ssim(x, case.x), seconds, x if case.seed == 0 else x[..., :0])


def _tables(report: Report, scores: Sequence[Score], settings: Tuned) -> None:
    names = list(dict.fromkeys(score.method for score in scores))
    best = _best_classical(scores)
    report.text(
        "Photographs: the middle 256 x 256 of eight scenes that nothing was trained or tuned on, blurred with what "
        f"lies beyond, noise .01, {NOISE_SEEDS} draws (one for {', '.join(ITERATIVE)}), PSNR and SSIM without the "
        f"outer {MARGIN} pixels. The classical methods have their best parameters, camera by camera, on the validation "
        f"scenes: {settings.describe()}. Best classical: *{best}*. Two families of cameras, hexagon and curved shake, "
        "were never in training; of one Gaussian the methods are told a width 15 % too small."
    )
    columns = ["method", "PSNR dB", "SSIM", "CPU s an image"]
    rows = [[name, *_means(scores, name)] for name in names]
    report.table("Mean over all cases", columns, rows)
    _by_group(report, "scene", scores, lambda score: score.case.scene)
    _by_group(report, "camera", scores, lambda score: score.case.camera.name)
    pairs = [(OURS, best), (OURS, ONESHOT)] if ONESHOT in names else [(OURS, best)]
    gains = {(a, b): _gain(scores, a, b) for a, b in pairs if a in names}
    report.table(
        "Gain in PSNR, with a 95 % interval from resampling scenes",
        ["pair", "gain dB", "interval", "least scene", "share of cases won"],
        [[f"{a} over {b}", *gain.row()] for (a, b), gain in gains.items()],
    )
    report.goals += gain_goals(gains, best, ONESHOT)


def _by_group(report: Report, title: str, scores: Sequence[Score], group_of: Callable[[Score], str]) -> None:
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        found[score.method][group_of(score)].append(score.psnr)
    groups = list(dict.fromkeys(group_of(score) for score in scores))
    rows = [[name, *(f"{_mean(values[group]):.2f}" for group in groups)] for name, values in found.items()]
    report.table(f"PSNR in dB by {title}", ["method", *groups], rows)


def _best_classical(scores: Sequence[Score]) -> str:
    by_method: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        if score.method not in (OURS, ONESHOT) and score.case.seed == 0:
            by_method[score.method].append(score.psnr)
    return max(by_method, key=lambda name: _mean(by_method[name]))


def _gain(scores: Sequence[Score], ours: str, other: str) -> Gain:
    theirs = {id(score.case): score.psnr for score in scores if score.method == other}
    gains: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        if score.method == ours and id(score.case) in theirs:
            gains[score.case.scene].append(score.psnr - theirs[id(score.case)])
    return Gain.of(gains)


def _strange(report: Report, loaded: LoadedNetwork, side: int, scenes_at_most: int | None) -> None:
    """Diagnostics and verdicts on photographs and on what is none: page, text, moon."""
    calibration = ImageCalibration.from_tensors(loaded.calibration)
    rows = []
    for scene, own in _by_scene([*cases(Use.TEST, 1, side, scenes_at_most), *cases(Use.STRANGE, 1, side)]):
        images = [_restored(loaded, case) for case in own]
        judged = [
            judge_image(loaded.network, calibration, x, case.y, case.blur, case.camera.noise_std)[0]
            for x, case in zip(images, own, strict=True)
        ]
        quality = _mean([psnr(x, case.x) for x, case in zip(images, own, strict=True)])
        figures = [f"{_mean([found[name] for found in judged]):.3g}" for name in ("rjcp", *IMAGE_SCORES, "p_value")]
        rows.append([scene, f"{quality:.2f}", *figures, ", ".join(str(found["verdict"]) for found in judged)])
    columns = ["scene", "PSNR", "RJCP", "RJCP / floor", "residual / noise", "correlation", "statistics", "p"]
    report.table(
        "Diagnostics of our network, mean over the cameras, and its verdict on each", [*columns, "verdicts"], rows
    )


def _by_scene(every: Sequence[Case]) -> list[tuple[str, list[Case]]]:
    found: dict[str, list[Case]] = defaultdict(list)
    for case in every:
        found[case.scene].append(case)
    return list(found.items())


def contact_sheet(scores: Sequence[Score]) -> Picture:
    """One case a row, another camera each: truth, and each method's crop with its PSNR above."""
    first = [score for score in scores if score.case.seed == 0]
    every = list({id(score.case): score.case for score in first}.values())
    rows = []
    for i, (_, own) in enumerate(_by_scene(every)):
        case = own[i % len(own)]
        start = (case.x.shape[-1] - min(WINDOW, case.x.shape[-1])) // 2
        inside = slice(start, start + WINDOW)
        tiles = [("truth", case.x)]
        tiles += [(f"{score.method} {score.psnr:.1f}", score.image) for score in first if score.case is case]
        rows.append([(label, image[0, 0, inside, inside].clamp(0.0, 1.0)) for label, image in tiles])
    return Picture("deblur_sheet.png", "Middle of each scene, one camera each; figures are PSNR in dB.", rows)


def _means(scores: Sequence[Score], name: str) -> list[str]:
    own = [score for score in scores if score.method == name]
    return [
        f"{_mean([s.psnr for s in own]):.2f}",
        f"{_mean([s.ssim for s in own]):.4f}",
        f"{_mean([s.cpu_s for s in own]):.3f}",
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
