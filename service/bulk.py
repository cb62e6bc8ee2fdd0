"""Bulk work past one machine: the engine as a callable on columns, for Ray Data, Dask, or a plain loop.

    dataset.map_batches(Inverter, fn_constructor_args=("heat1d",), batch_size=4096, concurrency=8)

No queue, no HTTP: whoever calls it has a scheduler of its own.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from service.columns import COLUMNS, column
from service.errors import InvalidInput
from service.inference import Inference, SolveSpec
from service.settings import CHECKPOINTS


class Inverter:
    """Inverts the column of observations of every batch it is called with.

    Args:
        model: a checkpoint's name; its newest version is used throughout.
        column: the column (B, m) that holds the observations.
        method: as in POST /invert, under the model's own preset.
        device: ``auto``, ``cpu`` or ``cuda``; threads: of this process, where the scheduler gives it that many cores.

    Raises:
        UnknownModel, ModelUnusable, DeviceUnavailable.
    """

    def __init__(
        self,
        model: str,
        column: str = "observation",
        method: str = "auto",
        checkpoints: Path | str = CHECKPOINTS,
        device: str = "auto",
        threads: int = 1,
    ) -> None:
        torch.set_num_threads(threads)
        self.inference = Inference(Path(checkpoints), device)
        self.column = column
        manifest = self.inference.manifest(model)
        self.spec = SolveSpec(manifest.name, manifest.version, (method,), manifest.preset)
        self.inference.check(self.spec, None)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The batch with ``x`` (B, n) and COLUMNS added; a row that is not finite has no answer, as in a job.

        Raises:
            InvalidInput: the column is missing or of the wrong width.
        """
        if self.column not in batch:
            raise InvalidInput.at(self.column, f"is no column of the batch; there are {', '.join(map(str, batch))}")
        observations = np.stack(list(batch[self.column])).astype(np.float64)
        self.inference.check(self.spec, observations.shape[1])
        answer = self.inference.solve(self.spec, observations)[0]
        return {**batch, "x": answer.x, **{name: column(answer.items, name) for name in COLUMNS}}
