"""A part of the application that answers existing clients: every error as they know it, every call weighed."""

from collections.abc import Callable, Mapping

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web import exchange_errors
from web.client_address import address_of
from web.exchange_errors import ExchangeError
from web.rate_limits import MinuteLimit, seconds_left
from web.service import Service

_USED = "used_weight"


def exchange_part(service: Service, *, header: str, weight_of: Callable[[str], int]) -> FastAPI:
    """An application of no routes yet. ``weight_of`` says what a call of a path weighs, also of one that is none;
    ``header`` tells what an address has used in this minute."""
    part = FastAPI(
        title="Soft Staking for existing clients",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )

    async def answer_to_defect(request: Request, error: Exception) -> JSONResponse:
        # Nothing that is inside the weighing sees a defect's answer.
        used = getattr(request.state, _USED, None)
        return answer_to(exchange_errors.defect(), {} if used is None else {header: str(used)})

    part.add_exception_handler(HTTPException, _answer_to_http_exception)
    part.add_exception_handler(ExchangeError, _answer_to_exchange_error)
    part.add_exception_handler(Exception, answer_to_defect)
    part.add_middleware(_Weighed, service=service, header=header, weight_of=weight_of)
    return part


def answer_to(error: ExchangeError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as clients read it."""
    retry_after = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return JSONResponse(
        {"code": error.code, "msg": error.message}, error.status, headers={**(headers or {}), **retry_after}
    )


async def _answer_to_exchange_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ExchangeError), "this handler is registered for it"
    return answer_to(error)


async def _answer_to_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException), "this handler is registered for it"
    return answer_to(
        exchange_errors.unknown_path(request.url.path, request.method, error.status_code), error.headers
    )


class _Weighed:
    """Counts what each call weighs, whatever becomes of it, and refuses what is over an address's limit."""

    def __init__(self, app: ASGIApp, *, service: Service, header: str, weight_of: Callable[[str], int]) -> None:
        self._app = app
        self._now = service.now
        self._proxies = service.settings.trusted_proxies
        self._limit = MinuteLimit(service.settings.weight_per_minute)
        self._header = header
        self._weight_of = weight_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        now = self._now()
        used = self._limit.use(address_of(request, self._proxies), self._weight_of(scope["path"]), now=now)
        setattr(request.state, _USED, used)

        async def send_with_weight(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[self._header] = str(used)
            await send(message)

        if self._limit.is_over(used):
            error = exchange_errors.too_much_weight(self._limit.most, seconds_left(now))
            await answer_to(error)(scope, receive, send_with_weight)
        else:
            await self._app(scope, receive, send_with_weight)
