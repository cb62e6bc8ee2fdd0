"""What deblurring costs: engines side by side, LM at equal quality, time and memory against pixels."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Generator, Tensor

from benchmarks.deblur_cases import Case, cases, psnr
from benchmarks.deblur_methods import FAMILIES, best_value
from benchmarks.goals import Goal, at_least, at_most
from benchmarks.measure import cpu_timed
from benchmarks.report import Report, significant
from benchmarks.setup import Setup
from models.deblurring import trajectory
from models.deceptronnet import DeceptronNet
from models.network_export import SIDE, engine_times
from models.registry import LoadedNetwork
from physics.blur import Blur, gaussian_noise
from physics.kernels import gaussian
from service.images import encode_png
from training.photographs import Use, grey, photographs, scenes

FASTER_THAN_LM, FASTER_THAN_TORCH, MEMORY_GIB = 10.0, 1.3, 2.0
PICTURES = ((512, 1), (1024, 1), (2048, 1), (1024, 3), (2048, 3))
COMMAND_SIDE, COMMAND_S = 512, 3.0
SMALL_PICTURES = ((64, 1), (96, 1))


def cost_tables(setup: Setup, report: Report, name: str) -> None:
    """All of it for the shipped network."""
    loaded = setup.registry.load_network(name)
    if isinstance(loaded.network, DeceptronNet):
        _engines(setup, report, loaded, loaded.network)
        _against_lm(setup, report, loaded.network)
    _against_pixels(setup, report, name)
    _command(setup, report)


def _engines(setup: Setup, report: Report, loaded: LoadedNetwork, network: DeceptronNet) -> None:
    """One thread by CPU time, two by the wall's, all engines in turn."""
    rows, gains = [], []
    was = torch.get_num_threads()
    for threads, clock in ((1, time.process_time), (2, time.perf_counter)):
        torch.set_num_threads(threads)
        repeats, side = (1, 64) if setup.quick else (5, SIDE)
        times = engine_times(network, loaded.graphs, repeats, clock, side)
        for engine, seconds in times.items():
            rows.append([str(threads), engine, significant(seconds), significant(times["torch"] / seconds)])
            report.keep_rows(threads=threads, engine=engine, seconds=seconds)
        gains.append(times["torch"] / min(times.values()))
    torch.set_num_threads(was)
    columns = ["threads", "engine", "seconds", "PyTorch's time over it"]
    report.table("Engines on 512 x 512, one plane, start included (1 thread: CPU time; 2: wall time)", columns, rows)
    why = (
        "the start and the blur are PyTorch's own transforms, and quick; a graph of all steps must transform by matrix "
        "products, at seven times their cost; the U-Net's convolutions alone are about 1.3 times quicker"
    )
    figure = "512 x 512: PyTorch's time over the best engine's, 1 and 2 threads"
    report.goals.append(at_least(figure, FASTER_THAN_TORCH, gains, why))


def _against_lm(setup: Setup, report: Report, network: DeceptronNet) -> None:
    """LM with its tolerance chosen on the validation scenes; ours ends at the step that is as good as LM's answer."""
    side, scenes_at_most = (96, 1) if setup.quick else (256, None)
    known, unknown = (cases(use, 1, side, scenes_at_most) for use in (Use.VALIDATION, Use.TEST))
    lm = FAMILIES["lm"][1]
    chosen: dict[str, float] = {}
    rows, ratios, whole = [], [], []
    for case in unknown:
        camera = case.camera.name
        if camera not in chosen:
            chosen[camera] = best_value("lm", [each for each in known if each.camera.name == camera], setup.quick)
        theirs, lm_s = cpu_timed(partial(lm, case, chosen[camera]))
        steps = _steps(network, case)
        goal = psnr(theirs, case.x)
        equal_s = next((seconds for x, seconds in steps if psnr(x, case.x) >= goal), float("inf"))
        ratios.append(lm_s / equal_s)
        whole.append(lm_s / steps[-1][1])
        report.keep_rows(scene=case.scene, lm_of=camera, lm_s=lm_s, equal_s=equal_s, whole_s=steps[-1][1], lm_psnr=goal)
    for label, found in (("stopped at LM's PSNR", ratios), ("all six steps", whole)):
        rows.append([label, *(significant(value) for value in (min(found), median(found), max(found)))])
    report.table("CPU time of LM over ours, 256 x 256", ["ours", "least", "median", "most"], rows)
    why = f"median over {len(ratios)} cases; to the end, far past LM's quality, it is {median(whole):.2g}"
    figure = "CPU time of LM over ours at LM's own PSNR, median"
    report.goals.append(at_least(figure, FASTER_THAN_LM, [median(ratios)], why))


def _steps(network: DeceptronNet, case: Case) -> list[tuple[Tensor, float]]:
    """The start and every step's answer, each with the CPU time from the beginning to it."""
    found: list[tuple[Tensor, float]] = []
    with torch.no_grad():
        steps = trajectory(network, case.y, case.blur, torch.tensor([case.camera.noise_std]))
        spent, began = 0.0, time.process_time()
        for x in steps:
            spent += time.process_time() - began
            found.append((x.clamp(0.0, 1.0), spent))
            began = time.process_time()
    return found


def _against_pixels(setup: Setup, report: Report, name: str) -> None:
    """Solve and verdict of pictures of several sizes, each in a process of its own: its peak is its own."""
    pictures = SMALL_PICTURES if setup.quick else PICTURES
    found = [_picture(setup, name, side, channels) for side, channels in pictures]
    rows = []
    for (side, channels), (seconds, before, peak) in zip(pictures, found, strict=True):
        per_megapixel = seconds / (channels * side**2 / 1e6)
        figures = [significant(value) for value in (seconds, per_megapixel, before, peak)]
        rows.append([f"{side} x {side}", "grey" if channels == 1 else "colour", *figures])
        report.keep_rows(side=side, channels=channels, cpu_s=seconds, gib_before=before, gib_peak=peak)
    columns = ["pixels", "", "CPU s", "CPU s a megapixel and channel", "GiB before", "GiB at the peak"]
    report.table("Time and memory against pixels, verdict included", columns, rows)
    report.goals += _size_goals([peak for _, _, peak in found], [float(row[3]) for row in rows])


def _size_goals(peaks: Sequence[float], per_megapixel: Sequence[float]) -> list[Goal]:
    spread = max(per_megapixel[1:]) / min(per_megapixel[1:])
    return [
        at_most("4 megapixels, grey and colour: GiB at the peak", MEMORY_GIB, [max(peaks)]),
        at_most("CPU time a megapixel from 1 to 4 megapixels: largest over smallest", 1.25, [spread]),
    ]


def _picture(setup: Setup, name: str, side: int, channels: int) -> tuple[float, float, float]:
    """CPU seconds, and GiB before and at the peak."""
    command = [sys.executable, "-m", "benchmarks.deblur_picture", str(setup.registry.root), name]
    command += [str(side), str(channels)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    seconds, before, peak = json.loads(done.stdout)
    return seconds, before, peak


def _command(setup: Setup, report: Report) -> None:
    """`deceptron deblur` on a photograph, from start to end: CPU seconds of the whole process, best of three."""
    side = 64 if setup.quick else COMMAND_SIDE
    x = grey(photographs(scenes(Use.TEST)[0])[0])[None, :, :side, :side]
    y = gaussian_noise(Blur(gaussian(1.6)).forward(x), 0.01, Generator().manual_seed(0))
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        picture.write_bytes(encode_png(y[0, 0].numpy(), 8))
        command = [sys.executable, "-m", "service.cli", "deblur", str(picture), "--sigma", "1.6"]
        found = [_children_s(command) for _ in range(1 if setup.quick else 3)]
    report.keep_rows(command_side=side, command_cpu_s=found)
    figure = f"`deceptron deblur` on {side} x {side}: CPU seconds, imports included, best of turns"
    report.goals.append(at_most(figure, COMMAND_S, [min(found)], "importing PyTorch is more than a third of it"))


def _children_s(command: Sequence[str]) -> float:
    was = getrusage(RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)  # noqa: S603
    now = getrusage(RUSAGE_CHILDREN)
    return now.ru_utime + now.ru_stime - was.ru_utime - was.ru_stime
