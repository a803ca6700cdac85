"""Routes in front of FastAPI's, for requests of the plainest kind."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

_HEADERS_OF_A_BODY = (b"content-length", b"transfer-encoding")


class DirectRoute(Route):
    """Answers GET requests to the path of an APIRoute, if they have neither a query nor a body.

    Its endpoint is called without dependencies. ``patterns`` say what the path's parameters must be. Every other
    request goes on to the APIRoute, which must be added after this one, and which reads or refuses it.
    """

    def __init__(
        self, instead_of: APIRoute, endpoint: Callable[[Request], Awaitable[Response]], **patterns: re.Pattern[str]
    ) -> None:
        super().__init__(instead_of.path, endpoint, include_in_schema=False)
        self._instead_of = instead_of
        self._patterns = patterns

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the request is for this route, as every route answers it."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
            return Match.NONE, {}
        match, found = super().matches(scope)
        if match is not Match.FULL or any(name in _HEADERS_OF_A_BODY for name, _ in scope["headers"]):
            return Match.NONE, {}
        parameters = found["path_params"]
        if not all(pattern.fullmatch(parameters[name]) for name, pattern in self._patterns.items()):
            return Match.NONE, {}
        # Requests are counted by the route in the scope.
        return match, {**found, "route": self._instead_of}


class PartWithDirectRoutes(FastAPI):
    """An application whose direct routes answer before the rest of FastAPI sees a request.

    The layers of FastAPI that this leaves out take more time than the answer does. Errors are answered by the
    handlers of the application.
    """

    _direct: Sequence[DirectRoute] = ()

    def answer_directly(self, routes: Sequence[DirectRoute]) -> None:
        """Takes the routes. The handlers of errors must be there already."""
        self._direct = routes
        self._answered_directly = ServerErrorMiddleware(
            self._answer_directly, handler=self.exception_handlers[Exception]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for route in self._direct:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                await self._answered_directly(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    async def _answer_directly(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer: Response = await scope["endpoint"](request)
        except Exception as error:
            kinds = [kind for kind in type(error).__mro__ if kind in self.exception_handlers]
            if kinds[0] is Exception:
                raise
            handle: Any = self.exception_handlers[kinds[0]]
            answer = await handle(request, error)
        await answer(scope, receive, send)
