"""Parts of the application that answer in a form of their own, errors included."""

from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send


def add_part(app: FastAPI, prefix: str, part: FastAPI) -> None:
    """Hands every path under a prefix to an application that has the full paths, and tells its OpenAPI as well.

    Before the application's own routes, and all that stands before those, which would take time and add nothing.
    """
    app.add_middleware(_Part, prefix=prefix, part=part)
    without_part = app.openapi
    app.openapi = lambda: _together(without_part(), part.openapi())


class _Part:
    """Unlike a mount it leaves the path whole: so no path reads otherwise in an error or in the OpenAPI."""

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
