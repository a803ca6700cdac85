"""How long a request's body may be."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute


def route_with_bodies_up_to(bytes_max: int) -> type[APIRoute]:
    """A class of routes that read a body only if its announced length is small enough."""

    class SmallBodyRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_if_small(request: Request) -> Response:
                if "transfer-encoding" in request.headers:
                    raise HTTPException(411, "a request with a body needs a Content-Length header")
                length = request.headers.get("content-length", "0")
                if not length.isdecimal() or int(length) > bytes_max:
                    raise HTTPException(413, f"a body has at most {bytes_max} bytes")
                return await handle(request)

            return handle_if_small

    return SmallBodyRoute
