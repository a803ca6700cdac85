"""Routes in front of FastAPI's, for requests of the plainest kind."""

import re
from collections.abc import Awaitable, Callable

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

_HEADERS_OF_A_BODY = (b"content-length", b"transfer-encoding")


class DirectRoute(Route):
    """Answers a GET request of an APIRoute's path that has neither a query nor a body.

    Its endpoint is asked without dependencies. ``patterns`` say what the path's parameters must be. Whatever else
    is asked goes on to the APIRoute, which must be added after this: it refuses or reads it.
    """

    def __init__(
        self, instead_of: APIRoute, endpoint: Callable[[Request], Awaitable[Response]], **patterns: re.Pattern[str]
    ) -> None:
        super().__init__(instead_of.path, endpoint, include_in_schema=False)
        self._instead_of = instead_of
        self._patterns = patterns

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As every route."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
            return Match.NONE, {}
        match, found = super().matches(scope)
        if match is not Match.FULL or any(name in _HEADERS_OF_A_BODY for name, _ in scope["headers"]):
            return Match.NONE, {}
        parameters = found["path_params"]
        if not all(pattern.fullmatch(parameters[name]) for name, pattern in self._patterns.items()):
            return Match.NONE, {}
        # By it requests are counted.
        return match, {**found, "route": self._instead_of}
