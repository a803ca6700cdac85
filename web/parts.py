"""Parts of the application whose answers, also errors, have a form of their own."""

from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send


def add_part(app: FastAPI, prefix: str, part: FastAPI) -> None:
    """Passes every path under a prefix to an application that has the full paths, and includes its OpenAPI.

    It comes before the main application's routes and middleware, which would only take time.
    """
    app.add_middleware(_Part, prefix=prefix, part=part)
    without_part = app.openapi
    app.openapi = lambda: _together(without_part(), part.openapi())


class _Part:
    """Unlike a mount it keeps the full path, so that errors and the OpenAPI show the path as it was requested."""

    def __init__(self, app: ASGIApp, prefix: str, part: FastAPI) -> None:
        self._app = app
        self._prefix, self._under = prefix, f"{prefix}/"
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(self._under) or path == self._prefix:
            await self._part(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    components: dict[str, Any] = {
        kind: {**one.get("components", {}).get(kind, {}), **other.get("components", {}).get(kind, {})}
        for kind in ("schemas", "securitySchemes")
    }
    return {**one, "paths": {**one.get("paths", {}), **other.get("paths", {})}, "components": components}
