"""A route whose function reads the request itself: FastAPI need not work out what to call it with."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.state import services_of


class DirectRoute(APIRoute):
    """Calls `endpoint(request, services)`; its documentation is FastAPI's as ever.

    For paths without parameters: there is nothing that a dependency would look at (see `state.only_own_jobs`).
    """

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        if self.param_convertors:
            raise TypeError(f"{self.path} has parameters, which this route does not read")

        async def handle(request: Request) -> Response:
            response: Response = await self.endpoint(request, await services_of(request))
            return response

        return handle
