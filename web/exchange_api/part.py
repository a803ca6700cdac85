"""A part of the application that answers existing clients: every error has their form, and every call is
weighed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.access.client_address import address_of
from web.access.rate_limits import MinuteLimit, seconds_left
from web.exchange_api import errors
from web.exchange_api.errors import ExchangeError
from web.service import Service

_USED = "used_weight"


Endpoint = Callable[[Request], Awaitable[Response]]


class ExchangePart(FastAPI):
    """An application that has no routes yet. ``weight_of`` says what a call of a path weighs, even if there is no
    such path. The response header ``header`` shows what an address has used in this minute."""

    def __init__(self, service: Service, *, header: str, weight_of: Callable[[str], int]) -> None:
        super().__init__(
            title="Soft Staking for existing clients",
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
        )

        async def answer_to_defect(request: Request, error: Exception) -> JSONResponse:
            # The middleware that weighs calls must be outside, since nothing inside it sees the answer to a
            # defect.
            used = getattr(request.state, _USED, None)
            return answer_to(errors.defect(), {} if used is None else {header: str(used)})

        self.add_exception_handler(HTTPException, _answer_to_http_exception)
        self.add_exception_handler(ExchangeError, _answer_to_exchange_error)
        self.add_exception_handler(Exception, answer_to_defect)
        weighing = _Weighing(service, header=header, weight_of=weight_of)
        self.add_middleware(_Weighed, weighing=weighing)
        self._endpoints: dict[str, _Direct] = {}
        weighed = _Weighed(self._ask_directly, weighing=weighing)
        self._asked_directly = ServerErrorMiddleware(weighed, handler=answer_to_defect)

    def ask_directly(self, routes: Iterable[BaseRoute]) -> None:
        """A route for an endpoint that reads its request itself, and is among the routes only for the OpenAPI.
        FastAPI's own reading takes longer than the answer."""
        self._endpoints |= {
            route.path: _Direct(route, route.endpoint) for route in routes if isinstance(route, APIRoute)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in self._endpoints:
            await self._asked_directly(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _ask_directly(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints[scope["path"]]
        scope["route"] = endpoint.route
        try:
            answer = await endpoint.ask(Request(scope, receive))
        except ExchangeError as error:
            answer = answer_to(error)
        await answer(scope, receive, send)


@dataclass(frozen=True)
class _Direct:
    route: APIRoute
    ask: Endpoint


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
    return answer_to(errors.unknown_path(request.url.path, request.method, error.status_code), error.headers)


class _Weighing:
    """What each call weighs, and how much an address may use."""

    def __init__(self, service: Service, *, header: str, weight_of: Callable[[str], int]) -> None:
        self._now = service.now
        self._proxies = service.settings.trusted_proxies
        self._limit = MinuteLimit(service.settings.weight_per_minute)
        self._weight_of = weight_of
        self.header = header.encode()

    def count(self, request: Request) -> tuple[int, ExchangeError | None]:
        """Counts a call. Answers what its address has used by now, and the refusal if that is too much."""
        now = self._now()
        path: str = request.scope["path"]
        used = self._limit.use(address_of(request, self._proxies), self._weight_of(path), now=now)
        if self._limit.is_over(used):
            return used, errors.too_much_weight(self._limit.most, seconds_left(now))
        return used, None


class _Weighed:
    """Counts what each call weighs, whatever its result is, and refuses calls that are over an address's limit."""

    def __init__(self, app: ASGIApp, *, weighing: _Weighing) -> None:
        self._app = app
        self._weighing = weighing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        used, refusal = self._weighing.count(request)
        setattr(request.state, _USED, used)

        async def send_with_weight(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (self._weighing.header, str(used).encode())]
            await send(message)

        if refusal is not None:
            await answer_to(refusal)(scope, receive, send_with_weight)
        else:
            await self._app(scope, receive, send_with_weight)
