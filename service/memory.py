"""How many observations are solved at once: as many as memory holds, and half as many each time that was too many."""

from collections.abc import Callable
from pathlib import Path

import structlog
import torch

from models.composition import EXACT_UP_TO

MOST_ROWS = 4096
SHARE = 0.25  # of the memory that is free at start: other workers want some too
NUMBERS_KEPT = 400  # float32 per unknown and per observed value that a row is taken to need; generous
_CGROUP = Path("/sys/fs/cgroup")
_SIGNS = ("out of memory", "can't allocate memory", "failed to allocate", "bad_alloc")

log = structlog.get_logger(__name__)


class RowsAtOnce:
    """The limit for one model; it only ever falls."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    @classmethod
    def that_fit(cls, n: int, m: int, device: str) -> "RowsAtOnce":
        """From the memory that is free now, for n unknowns and m observed values."""
        jacobians = 4 * n * m if n <= EXACT_UP_TO else 0
        row = 4 * (NUMBERS_KEPT * (n + m) + jacobians)
        return cls(max(1, min(MOST_ROWS, int(SHARE * free_bytes(device)) // row)))

    def run(self, total: int, work: Callable[[slice], None]) -> None:
        """Calls work on blocks of rows in turn; a block that is too large for memory is tried again in halves."""
        first = 0
        while first < total:
            rows = slice(first, min(first + self.limit, total))
            try:
                work(rows)
            except Exception as error:
                size = rows.stop - first
                if size == 1 or not is_out_of_memory(error):
                    raise
                self.limit = size // 2
                log.warning("out_of_memory", rows=size, rows_from_now_on=self.limit)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            first = rows.stop


def is_out_of_memory(error: Exception) -> bool:
    """PyTorch, NumPy and ONNX Runtime each say it in their own way."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error).lower() for sign in _SIGNS)


def free_bytes(device: str) -> int:
    """Memory that is free now: of the GPU, or of the machine within the limits of our control group."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return min(_available(Path("/proc/meminfo")), _left_in_group(_CGROUP))


def _available(meminfo: Path) -> int:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return 4 << 30  # not Linux: a modest guess


def _left_in_group(group: Path) -> int:
    try:
        most, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return int(most) - int(used)
    except (OSError, ValueError):  # no such group, or no limit
        return 1 << 62
