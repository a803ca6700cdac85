"""What is tested before a request's body is read: who asks, and how long the body may be."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

_CHECKED = "checked_before_the_body"


class BeforeTheBody(ABC):
    """A dependency that tests a request before its body is read, where it is one of a route's own dependencies.

    FastAPI itself reads and parses a body before it asks any dependency.
    """

    @abstractmethod
    async def check(self, request: Request) -> None:
        """Raises the problem with a request that may not pass."""

    async def check_once(self, request: Request) -> None:
        """Tests a request, unless its route did so already."""
        if request.scope.get(_CHECKED) is not self:
            await self.check(request)
            request.scope[_CHECKED] = self


def route_with_bodies_up_to(bytes_max: int) -> type[APIRoute]:
    """A class of routes that read a body only of who may ask, and if its announced length is small enough."""

    class SmallBodyRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            checks = [each.dependency for each in self.dependencies if isinstance(each.dependency, BeforeTheBody)]

            async def handle_if_small(request: Request) -> Response:
                for check in checks:
                    await check.check_once(request)
                if "transfer-encoding" in request.headers:
                    raise HTTPException(411, "a request with a body needs a Content-Length header")
                length = request.headers.get("content-length", "0")
                if not length.isdecimal() or int(length) > bytes_max:
                    raise HTTPException(413, f"a body has at most {bytes_max} bytes")
                return await handle(request)

            return handle_if_small

    return SmallBodyRoute
