"""Refuses query parameters that the endpoint does not read, since the answer would be to another question."""

from typing import Any

from fastapi import Depends, Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute


def only_known_parameters() -> params.Depends:
    """A dependency that lets only those query parameters pass that the endpoint has, each sent once.

    Put it after those that know who asks. Raises RequestValidationError.
    """

    # Asynchronous, so that it runs on the event loop and not in a thread.
    async def check(request: Request) -> None:
        route = request.scope["route"]
        assert isinstance(route, APIRoute), "a dependency is one of a route"
        parameters = [field.alias for field in route.dependant.query_params]
        faults: list[dict[str, Any]] = []
        for name in dict.fromkeys(request.query_params):
            if name not in parameters:
                shown = name if len(name) <= 40 else f"{name[:39]}…"
                faults.append(_fault(name, f"there is no parameter {shown!r} here; {_named(parameters)}"))
            elif len(request.query_params.getlist(name)) > 1:
                faults.append(_fault(name, "it was sent more than once"))
        if faults:
            raise RequestValidationError(faults)

    return Depends(check)


def _fault(name: str, message: str) -> dict[str, Any]:
    return {"type": "value_error", "loc": ("query", name), "msg": message}


def _named(parameters: list[str]) -> str:
    return f"there are {', '.join(parameters[:-1])} and {parameters[-1]}" if parameters else "it takes none"
