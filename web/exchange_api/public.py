"""What existing clients ask before they sign anything: whether the service is there, and its time."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request

from web.exchange_api import errors
from web.exchange_api.openapi import TIME_UNIT, Nothing, ServerTime, SystemStatus, error_responses
from web.exchange_api.part import ExchangePart
from web.exchange_api.signed_query import microseconds_of, milliseconds_of
from web.health import Health
from web.parts import add_part
from web.service import Service

SYSTEM_STATUS = "/sapi/v1/system/status"
_USED_WEIGHT = "x-mbx-used-weight-1m"
_TIME_UNITS = {"MILLISECOND": milliseconds_of, "MICROSECOND": microseconds_of}


def install(app: FastAPI, service: Service) -> None:
    """Adds the endpoints under /api, where every call weighs 1."""
    part = ExchangePart(service, header=_USED_WEIGHT, weight_of=lambda _path: 1)
    part.include_router(_routes(service))
    add_part(app, "/api", part)


def _routes(service: Service) -> APIRouter:
    async def ping(request: Request) -> dict[str, Any]:
        _check_no_parameters(request)
        return {}

    async def time(request: Request) -> dict[str, int]:
        _check_no_parameters(request)
        count = _TIME_UNITS.get(request.headers.get("x-mbx-time-unit", "MILLISECOND").upper())
        if count is None:
            raise errors.bad_time_unit()
        return {"serverTime": count(service.now())}

    router = APIRouter(prefix="/api/v3", tags=["existing clients"], responses=error_responses(400, 429))
    router.add_api_route(
        "/ping",
        ping,
        response_model=Nothing,
        operation_id="ping",
        summary="Whether the service is there",
        description="An empty object. Needs no key.",
    )
    router.add_api_route(
        "/time",
        time,
        response_model=ServerTime,
        operation_id="getServerTime",
        summary="The clock by which timestamps are judged",
        openapi_extra={"parameters": [TIME_UNIT]},
        description="A client with a wrong clock adds the difference to its timestamps. Needs no key.",
    )
    return router


def system_status_router(process: Health | None) -> APIRouter:
    """The endpoints under /sapi that need no key."""

    async def system_status(request: Request) -> dict[str, Any]:
        _check_no_parameters(request)
        if process is not None and await process.not_ready():
            return {"status": 1, "msg": "system_maintenance"}
        return {"status": 0, "msg": "normal"}

    router = APIRouter(tags=["existing clients"], responses=error_responses(400, 429))
    router.add_api_route(
        SYSTEM_STATUS,
        system_status,
        response_model=SystemStatus,
        operation_id="getSystemStatus",
        summary="Whether requests can be taken just now",
        description="Needs no key.",
    )
    return router


def _check_no_parameters(request: Request) -> None:
    if received := [part for part in request.scope["query_string"].split(b"&") if part]:
        raise errors.too_many_parameters(len(received))
