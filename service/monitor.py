"""What a worker tells operators of its work: metrics of its own, and the windows that all workers share."""

from collections.abc import Iterable
from typing import Any

from service.deblurring.spec import DeblurSpec, is_deblur
from service.inference import Inference, SolveSpec
from service.metrics.worker import WorkerMetrics
from service.queue.window import Pushing, Sample
from service.queue.worker import Finished, Observer
from service.results import Notes
from service.rjcp import Judged, window_name


class WorkerMonitor:
    """The queue worker's observer: called after a batch is booked; what it raises costs nobody an answer."""

    def __init__(self, inference: Inference, judged: Judged, metrics: WorkerMetrics, windows: Pushing) -> None:
        self._inference, self._judged, self._metrics, self._windows = inference, judged, metrics, windows
        for model, version in judged.versions().items():
            self._expect(model, version)

    def finished(self, batch: Finished) -> None:
        """Counts the batch; answers made as the calibration set was go into their model's window."""
        notes = [outcome.notes for outcome in batch.outcomes if isinstance(outcome.notes, Notes)]
        if is_deblur(batch.spec):
            self._deblurred(DeblurSpec.from_json(batch.spec), batch, notes)
            return
        spec = SolveSpec.from_json(batch.spec)
        self._expect(spec.model, spec.version)
        self._times(spec.model, batch, notes)
        manifest = self._inference.manifest(spec.model, spec.version)
        for k, method in enumerate(spec.methods):
            items = [item for note in notes for item in note.items[k]]
            samples = list(_samples(items))
            self._metrics.answered(spec.model, str(spec.version), samples, len(items) - len(samples))
            if spec.as_calibrated(method, manifest):
                self._windows.push({window_name(spec.model, spec.version): samples})

    def _deblurred(self, spec: DeblurSpec, batch: Finished, notes: list[Notes]) -> None:
        """Channels of pictures: their residual, and the verdict where their method has one.

        One channel of each picture goes into its network's window: they are too alike to count as several answers.
        """
        self._times(spec.model, batch, notes)
        found = [note.items[0][0]["diagnostics"] for note in notes]
        if spec.version is None or not all("verdict" in channel for channel in found):
            for channel in found:
                self._metrics.residual.labels(spec.model).observe(channel["residual_to_noise"])
            return
        self._expect(spec.model, spec.version)
        samples = [_sample(channel, "rjcp_over_floor") for channel in found]
        self._metrics.answered(spec.model, str(spec.version), samples, 0)
        noted = [done for done in batch.booked if done.outcome is not None and isinstance(done.outcome.notes, Notes)]
        firsts = [sample for sample, done in zip(samples, noted, strict=True) if done.is_first]
        self._windows.push({window_name(spec.model, spec.version): firsts})

    def redelivered(self, chunks: int) -> None:
        self._metrics.redeliveries.inc(chunks)

    def poisoned(self, items: int) -> None:
        self._metrics.poisoned.inc(items)

    def _times(self, model: str, batch: Finished, notes: list[Notes]) -> None:
        for waited_s in batch.waited_s:
            self._metrics.queued.observe(waited_s)
        self._metrics.batch.observe(batch.items)
        self._metrics.compute.labels(model, "solve").observe(sum(note.solve_s for note in notes))
        self._metrics.compute.labels(model, "diagnose").observe(sum(note.diagnose_s for note in notes))

    def _expect(self, model: str, version: int) -> None:
        if not self._metrics.knows(model, str(version)):
            self._metrics.expect(model, str(version), self._judged.rjcp(model, version))


class Both:
    """Two observers as one."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self._all = (first, second)

    def finished(self, batch: Finished) -> None:
        for observer in self._all:
            observer.finished(batch)

    def redelivered(self, chunks: int) -> None:
        for observer in self._all:
            observer.redelivered(chunks)

    def poisoned(self, items: int) -> None:
        for observer in self._all:
            observer.poisoned(items)


def _samples(items: Iterable[dict[str, Any]]) -> Iterable[Sample]:
    for item in items:
        found = item.get("diagnostics")
        if found is not None:
            yield _sample(found, "rjcp")


def _sample(found: dict[str, Any], score: str) -> Sample:
    return Sample(found[score], found["residual_to_noise"], found["p_value"], found["verdict"])
