"""Who may call the API for product services: bearer tokens, their scopes, and how often they may call."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request, params
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from ledger.service_tokens import Scope, ServiceToken, token_in_use
from web.client_address import address_of
from web.problems import Problem
from web.rate_limits import MinuteLimit, seconds_left
from web.service import Service
from web.tokens import is_the_token, token_id_in

_bearer = HTTPBearer(auto_error=False, description="A token made by `starter.py tokens create`.")


class Bearers:
    """Tests the token of every request: in use, within its limit, with the scope that the endpoint needs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limit = MinuteLimit(service.settings.calls_per_minute)

    def may(self, scope: Scope) -> params.Security:
        """A dependency that only lets callers with a scope pass."""

        async def check(
            request: Request,
            scopes: SecurityScopes,
            credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
        ) -> None:
            token = await self._token(request, credentials.credentials if credentials else "")
            if scope not in token.scopes:
                raise Problem(
                    HTTPStatus.FORBIDDEN,
                    "insufficient-scope",
                    "Insufficient scope",
                    f"this token does not have the scope {scope}",
                    headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
                )

        return params.Security(check, scopes=[scope.value])

    async def _token(self, request: Request, text: str) -> ServiceToken:
        token_id = token_id_in(text)
        async with self._service.ledger.read() as connection:
            known = None if token_id is None else await token_in_use(connection, token_id)
        if not is_the_token(known, text) or known is None:
            self._count(f"address {address_of(request, self._service.settings.trusted_proxies)}")
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "Unauthorized",
                "a bearer token that is in use is needed; an operator makes one with: starter.py tokens create",
                headers={"WWW-Authenticate": "Bearer"},
            )
        self._count(f"token {known.token_id}")
        return known

    def _count(self, subject: str) -> None:
        now = self._service.now()
        if self._limit.is_over(self._limit.use(subject, 1, now=now)):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too-many-calls",
                "Too many calls",
                f"more than {self._limit.most} calls in this minute",
                headers={"Retry-After": str(seconds_left(now))},
            )
