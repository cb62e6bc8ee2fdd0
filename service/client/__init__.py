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

from service.client.aio import AsyncClient
from service.client.flows import Options
from service.client.pictures import DeblurOptions, Deblurred
from service.client.sync import Client
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
