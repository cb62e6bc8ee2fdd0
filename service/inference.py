"""Observations in, answers out: one model, one batch, one or more methods. No HTTP and no Redis in here."""

import json
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import structlog
import torch

from models.checkpoint import CheckpointError, Manifest
from models.engine import Maps
from models.registry import LoadedModel, Registry, UnknownCheckpoint
from models.rows import FOURS, Sizes
from physics.constraints import Constraint, ConstraintError, check_feasible, intersect, parse_constraint
from physics.problem import UnknownProblem
from service.cards import calibration_histograms, examples_of, model_card
from service.device import choose_device
from service.engines import maps_of, require_engine, spoken
from service.errors import FieldError, InvalidInput, ModelUnusable, ServiceError, UnknownModel
from service.items import items_of
from service.memory import RowsAtOnce
from service.progress import pieces
from service.solve_spec import SolveSpec, option_errors
from solvers.plans import METHODS, PRESETS, Preset, objective_for, plan_for, rules_for, run_plan
from solvers.solve import Progress, Rules
from trust.calibration import Calibration
from trust.judge import Judge

TELL_EVERY_S = 2.0
UNREACHED = 1e-9  # a tolerance

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Answer:
    """What one method made of a batch: x (B, n), and per row everything else an API item has."""

    method: str
    x: np.ndarray
    items: list[dict[str, Any]]
    solve_s: float
    diagnose_s: float


@dataclass(frozen=True)
class _Ready:
    """A loaded model on its device: its judge, the engine's maps, how many rows memory holds, and their sizes."""

    judge: Judge
    maps: Maps
    rows: RowsAtOnce
    sizes: Sizes


class Inference:
    """The models of one checkpoint directory on one device, loaded when first asked for. Safe to share between threads.

    Args:
        engine: ``auto`` is the one that measured quicker, model by model.
        buckets: batches have one of a few sizes up to this many rows, each of which ``warm`` runs; 0: any size.

    Raises:
        DeviceUnavailable: the device or the engine was asked for and is not there.
    """

    def __init__(self, checkpoints: Path, device: str = "auto", engine: str = "auto", buckets: int = 0) -> None:
        self.registry = Registry(checkpoints)
        self.device = choose_device(device)
        self._engine = require_engine(engine, self.device)
        self._buckets = buckets
        self._ready: dict[tuple[str, int], _Ready] = {}
        self._lock = threading.Lock()

    @property
    def engine(self) -> str:
        """What the models loaded so far run on."""
        return spoken(ready.maps.engine for ready in list(self._ready.values()))

    def engine_of(self, model: str, version: int) -> str:
        """What one model runs on."""
        return self._load(model, version).maps.engine

    def manifest(self, model: str, version: int | None = None) -> Manifest:
        """The manifest of a version, the newest unless given; raises UnknownModel, ModelUnusable.

        Every request asks: whether the version is still there is looked up each time, its file is read but once.
        """
        try:
            ready = self._ready.get((model, self.registry.version(model, version)))
            return ready.judge.loaded.manifest if ready else self.registry.manifest(model, version)
        except UnknownCheckpoint as error:
            raise UnknownModel(str(error), [FieldError("model", str(error))]) from error
        except CheckpointError as error:
            raise ModelUnusable(str(error)) from error

    def manifests(self) -> list[Manifest]:
        """The newest version of every model that can be used; ``refused`` says what is left out and why."""
        return [found for found in self._newest().values() if isinstance(found, Manifest)]

    def refused(self) -> dict[str, str]:
        """Name -> reason of every model whose newest version cannot be used."""
        return {name: found for name, found in self._newest().items() if isinstance(found, str)}

    def _newest(self) -> dict[str, Manifest | str]:
        newest: dict[str, Manifest | str] = {}
        for name in self.registry.names():
            try:
                manifest = self.manifest(name)
                newest[name] = self._load(name, manifest.version).judge.loaded.manifest
            except ServiceError as error:
                newest[name] = str(error)
        return newest

    def card(self, model: str, version: int | None = None) -> dict[str, Any]:
        """The model card of GET /models/{name}."""
        ready = self._load(model, self.manifest(model, version).version)
        return model_card(ready.judge.loaded, ready.judge.calibration, self.registry.versions(model))

    def calibration(self, model: str, version: int | None = None) -> Calibration:
        """What the checkpoint knows of in-range items; raises UnknownModel, ModelUnusable."""
        return self._load(model, self.manifest(model, version).version).judge.calibration

    def loaded(self, model: str, version: int | None = None) -> LoadedModel:
        """The problem and its f and g, for those who want to call them; raises UnknownModel, ModelUnusable."""
        return self._load(model, self.manifest(model, version).version).judge.loaded

    def histograms(self, model: str, version: int | None = None) -> dict[str, Any]:
        """How each score is spread over a model's calibration set."""
        ready = self._load(model, self.manifest(model, version).version)
        return calibration_histograms(ready.judge.loaded.manifest, ready.judge.calibration)

    def examples(self, model: str) -> dict[str, Any]:
        """A few held-out observations with their truths."""
        return examples_of(self.loaded(model))

    def at_hand(self) -> "Inference":
        """The same, but only with what is loaded already: never waits for a file. Other models raise NotAtHand."""
        return _AtHand(self)

    def warm(self) -> None:
        """Loads every usable model, and runs each at every size that its batches have: no request pays for that.

        What takes long is told to the log.
        """
        tasks = [(manifest, rows) for manifest in self.manifests() for rows in self._sizes_of(manifest).buckets or (1,)]
        told = time.monotonic()
        for done, (manifest, rows) in enumerate(tasks):
            if time.monotonic() - told > TELL_EVERY_S:
                log.info("warming", model=manifest.name, rows=rows, done=done, of=len(tasks))
                told = time.monotonic()
            self._warm(manifest, rows)

    def _sizes_of(self, manifest: Manifest) -> Sizes:
        return self._load(manifest.name, manifest.version).sizes

    def _warm(self, manifest: Manifest, rows: int) -> None:
        """An iteration of each stage of ``auto``, or, where batches have any size, of those that a row comes to."""
        problem = self.loaded(manifest.name, manifest.version).problem
        tolerance = UNREACHED if self._buckets else None
        spec = SolveSpec(
            manifest.name, manifest.version, ("auto",), manifest.preset, max_iterations=1, tolerance=tolerance
        )
        y = problem.forward(torch.tensor([problem.start], dtype=torch.float64)).numpy()
        self.solve(spec, np.repeat(y + problem.noise_std, rows, axis=0))

    def check(self, spec: SolveSpec, width: int | None) -> None:
        """Refuses a spec that cannot be solved.

        Args:
            width: number of values per observation, when known.

        Raises:
            UnknownModel, ModelUnusable, InvalidInput: naming the fields.
        """
        ready = self._ready.get((spec.model, spec.version))
        ready = ready or self._load(spec.model, self.manifest(spec.model, spec.version).version)
        problem = ready.judge.loaded.problem
        wrong = [
            FieldError("method", f"{m!r} is none of {', '.join(METHODS)}") for m in spec.methods if m not in METHODS
        ]
        if spec.preset not in PRESETS:
            wrong.append(FieldError("options.preset", f"{spec.preset!r} is none of {', '.join(PRESETS)}"))
        if width is not None and width != problem.m:
            detail = f"{width} values per observation, where model {spec.model!r} takes {problem.m}"
            wrong.append(FieldError("observations", detail))
        wrong += option_errors(spec)
        try:
            tighter = _constraint(spec, problem.n)
            if tighter is not None:
                check_feasible(intersect(problem.constraint, tighter), problem.n)
        except ConstraintError as error:
            wrong.append(FieldError(error.field, error.reason))
        if wrong:
            raise InvalidInput("; ".join(f"{e.field}: {e.detail}" for e in wrong), wrong)

    def solve(self, spec: SolveSpec, observations: np.ndarray, progress: Progress | None = None) -> list[Answer]:
        """Solves observations (B, m) by every method of the spec.

        A row that cannot be solved carries ``item["error"]`` and NaN in x; no data raises.
        """
        ready = self._load(spec.model, spec.version)
        each = pieces(progress, spec.methods)
        return [self._solve_by(method, spec, ready, observations, told) for method, told in each]

    def _solve_by(
        self, method: str, spec: SolveSpec, ready: _Ready, observations: np.ndarray, progress: Progress | None
    ) -> Answer:
        loaded = ready.judge.loaded
        n = loaded.problem.n
        preset = cast(Preset, spec.preset)
        objective = objective_for(
            preset, loaded.problem, loaded.deceptron, _constraint(spec, n), ready.maps, ready.sizes
        )
        plan, rules = plan_for(method, preset, n), _rules(spec, loaded)
        calibrated = spec.as_calibrated(method, loaded.manifest)
        blocks: list[tuple[np.ndarray, list[dict[str, Any]], float, float]] = []

        def work(rows: slice) -> None:
            y = ready.sizes.fill(torch.from_numpy(np.ascontiguousarray(observations[rows])).to(objective.scale))
            report = partial(_report, progress, rows.start, len(observations)) if progress else None
            began = time.perf_counter()
            outcome = run_plan(plan, objective, y, loaded.problem.start, rules, spec.history, report)
            solved = time.perf_counter()
            x, items = items_of(ready.judge, objective, plan, outcome, y, calibrated, spec.uncertainty)
            asked = rows.stop - rows.start
            blocks.append((x[:asked], items[:asked], solved - began, time.perf_counter() - solved))

        ready.rows.run(len(observations), work)
        xs, items, solve_s, diagnose_s = zip(*blocks, strict=True)
        return Answer(method, np.concatenate(xs), list(chain(*items)), sum(solve_s), sum(diagnose_s))

    def _load(self, model: str, version: int) -> _Ready:
        with self._lock:
            if (model, version) not in self._ready:
                self._ready[model, version] = self._read(model, version)
            return self._ready[model, version]

    def _read(self, model: str, version: int) -> _Ready:
        try:
            loaded = self.registry.load(model, version)
            loaded.deceptron.to(self.device)
            maps = maps_of(loaded, self._engine, self.device)
            judge = Judge.of(loaded, maps.inspection)
        except UnknownCheckpoint as error:
            raise UnknownModel(str(error)) from error
        except (CheckpointError, UnknownProblem) as error:
            raise ModelUnusable(str(error)) from error
        except KeyError as error:
            raise ModelUnusable(
                f"model {model!r}: its calibration lacks {error}; run `deceptron recalibrate {model}`"
            ) from error
        rows, sizes = RowsAtOnce.that_fit(loaded.problem.n, loaded.problem.m, self.device), FOURS
        if self._buckets:
            sizes = Sizes.up_to(min(rows.limit, self._buckets))
            rows.limit = min(rows.limit, sizes.buckets[-1])
        return _Ready(judge, maps, rows, sizes)


class NotAtHand(LookupError):
    """The model must be loaded first."""


class _AtHand(Inference):
    def __init__(self, whole: Inference) -> None:
        vars(self).update(vars(whole))  # the very same models, those loaded later among them

    def _load(self, model: str, version: int) -> _Ready:
        ready = self._ready.get((model, version))
        if ready is None:
            raise NotAtHand(model)
        return ready


def _report(progress: Progress, first: int, total: int, done: int, _rows: int) -> None:
    progress(min(first + done, total), total)


def _constraint(spec: SolveSpec, n: int) -> Constraint | None:
    return None if spec.constraint is None else parse_constraint(json.loads(spec.constraint), n)


def _rules(spec: SolveSpec, loaded: LoadedModel) -> Rules:
    rules = rules_for(cast(Preset, spec.preset), loaded.problem.m, loaded.manifest.refinements)
    if spec.relaxation is not None:
        rules = replace(rules, line_search=replace(rules.line_search, relaxation=spec.relaxation))
    if spec.tolerance is not None:
        rules = replace(rules, tolerance=spec.tolerance)
    return rules if spec.max_iterations is None else replace(rules, max_iterations=spec.max_iterations)


__all__ = ["METHODS", "PRESETS", "Answer", "Inference", "SolveSpec", "choose_device"]
