"""Routes of foreign protocols: our problem documents, with the member in which their clients look for the reason."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.errors import ServiceError
from service.responses import service_problem

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ExplainedRoute(APIRoute):
    """A route whose errors carry the extension members that ``explain`` gives."""

    def explain(self, error: ServiceError) -> dict[str, Any]:
        """What the protocol's own clients read."""
        raise NotImplementedError

    def get_route_handler(self) -> Handler:
        """The route's handler, its errors explained."""
        handle = super().get_route_handler()

        async def explained(request: Request) -> Response:
            try:
                return await handle(request)
            except ServiceError as error:
                return service_problem(error, self.explain(error))

        return explained
