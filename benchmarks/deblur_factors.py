"""Downsampled photographs: what the camera averaged over 2 x 2 or 4 x 4 pixels, brought back to full size.

Total variation is not among the methods: its closed form is for full resolution only (physics/total_variation.py).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.deblur_cases import Camera, Case, cases_through, psnr, ssim
from benchmarks.report import Report
from benchmarks.setup import Setup
from models.deblurring import deblur
from models.deceptronnet import ImageNetwork
from physics.kernels import gaussian
from solvers.images import richardson_lucy, wiener
from training.photographs import Use

FACTORS = (2, 4)
NETWORKS = ("deblur", "deblur-oneshot")
BALANCES = (25.0, 50.0, 100.0, 200.0, 400.0)
Restore = Callable[[Case], Tensor]


def factor_table(setup: Setup, report: Report) -> None:
    """Every method on every test scene through one camera of each factor; Wiener tuned on the validation scenes."""
    side, scenes_at_most = (96, 2) if setup.quick else (256, None)
    rows = []
    for factor in FACTORS:
        kernel = gaussian(0.8 * factor)
        camera = Camera(f"factor {factor}", kernel, kernel, 0.01, factor)
        known = cases_through([camera], Use.VALIDATION, 1, side, scenes_at_most)
        unknown = cases_through([camera], Use.TEST, 1, side, scenes_at_most)
        for name, method in _methods(setup, known).items():
            found = [(psnr(x, case.x), ssim(x, case.x)) for case in unknown for x in [method(case)]]
            means = [sum(values) / len(values) for values in zip(*found, strict=True)]
            rows.append([str(factor), name, f"{means[0]:.2f}", f"{means[1]:.4f}"])
            report.keep_rows(factor=factor, restored_by=name, each_psnr=[each[0] for each in found])
    report.table("Downsampled: mean over the test scenes", ["factor", "method", "PSNR dB", "SSIM"], rows)


def _methods(setup: Setup, known: Sequence[Case]) -> dict[str, Restore]:
    quality: dict[float, float] = defaultdict(float)
    for balance in BALANCES:
        for case in known:
            quality[balance] += psnr(_wiener(case, balance), case.x)
    best = max(BALANCES, key=lambda balance: quality[balance])
    methods: dict[str, Restore] = {
        "bicubic": lambda case: interpolate(case.y, scale_factor=float(case.camera.factor), mode="bicubic"),
        f"wiener, balance {best:g}": lambda case: _wiener(case, best),
        "richardson_lucy": lambda case: richardson_lucy(case.y, case.blur, case.camera.noise_std),
    }
    there = set(setup.registry.networks())
    for name in NETWORKS:
        if name in there:
            methods[name] = partial(_by_network, setup.registry.load_network(name).network)
    return methods


def _by_network(network: ImageNetwork, case: Case) -> Tensor:
    return deblur(network, case.y, case.blur, case.camera.noise_std)


def _wiener(case: Case, balance: float) -> Tensor:
    return wiener(case.y, case.blur, case.camera.noise_std, balance)
