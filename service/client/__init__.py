"""Talk to a running service from Python.

    from service.client import Client

    with Client("http://127.0.0.1:8000") as client:
        result = client.invert("oscillator", y)  # y: (m,) or (B, m)
        result.x, result.verdicts                # (B, n), and whether to believe each row

        sharp = client.deblur("photo.png", sigma=1.6).x  # (H, W) or (H, W, 3)

`AsyncClient` has the same methods, to be awaited. Every error is a ClientError:

ClientError
├── Problem           the service refused (carries status, title, errors)
├── Unreachable       no answer, after all retries
├── JobFailed         the job ended without a result (failed as a whole, canceled, expired)
└── WaitTimeout       the job is still running; it can be waited for again
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from service.client.flows import Options
from service.client.pictures import DeblurOptions, Deblurred
from service.client.types import (
    ClientError,
    Comparison,
    Diagnostics,
    Item,
    Job,
    JobFailed,
    MethodAnswer,
    Problem,
    Result,
    Retries,
    Timing,
    Unreachable,
    WaitTimeout,
)

if TYPE_CHECKING:
    from service.client.aio import AsyncClient
    from service.client.sync import Client

_LATE = {"AsyncClient": "aio", "Client": "sync"}


def __getattr__(name: str) -> Any:
    """The clients when they are asked for: httpx takes longer to import than a small solve."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)


__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Comparison",
    "DeblurOptions",
    "Deblurred",
    "Diagnostics",
    "Item",
    "Job",
    "JobFailed",
    "MethodAnswer",
    "Options",
    "Problem",
    "Result",
    "Retries",
    "Timing",
    "Unreachable",
    "WaitTimeout",
]
