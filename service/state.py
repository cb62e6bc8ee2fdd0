"""What the routes share: one value in `app.state`, built when the app starts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends
from starlette.requests import Request

from service.inference import Inference
from service.queue.jobs import JobStore
from service.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Services:
    """The settings, the queue, the models, and the threads that keep heavy work off the event loop."""

    settings: Settings
    store: JobStore
    inference: Inference
    limiter: CapacityLimiter
    commit: str

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one of the few decode threads (few, so that large bodies cannot fill the memory together)."""
        return await anyio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self.limiter)


def services_of(request: Request) -> Services:
    services = request.app.state.services
    if not isinstance(services, Services):
        raise TypeError("the app was not started through its lifespan")
    return services


Shared = Annotated[Services, Depends(services_of)]
