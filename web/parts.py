"""Parts of the application that answer in a form of their own, errors included."""

from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send


def add_part(app: FastAPI, prefix: str, part: FastAPI) -> None:
    """Hands every path under a prefix to an application that has the full paths, and tells its OpenAPI as well."""
    app.router.routes.append(_Part(prefix, part))
    without_part = app.openapi
    app.openapi = lambda: _together(without_part(), part.openapi())


class _Part(BaseRoute):
    """Unlike a mount it leaves the path whole: so no path reads otherwise in an error or in the OpenAPI."""

    def __init__(self, prefix: str, part: FastAPI) -> None:
        self._prefix = prefix
        self._part = part

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path: str = scope["path"] if scope["type"] == "http" else ""
        is_under = path == self._prefix or path.startswith(f"{self._prefix}/")
        return (Match.FULL if is_under else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._part(scope, receive, send)


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    components: dict[str, Any] = {
        kind: {**one.get("components", {}).get(kind, {}), **other.get("components", {}).get(kind, {})}
        for kind in ("schemas", "securitySchemes")
    }
    return {**one, "paths": {**one.get("paths", {}), **other.get("paths", {})}, "components": components}
