"""Who may call: bearer tokens, their scopes, and how often a caller may call."""

from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request, params
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ledger.database.engine import Ledger
from ledger.service_tokens import Scope, ServiceToken, tokens_in_use
from settings import Settings
from web.access.client_address import address_of
from web.access.rate_limits import MinuteLimit, seconds_left
from web.access.tokens import is_the_token, token_id_in
from web.body_limits import BeforeTheBody
from web.problems import Problem

_bearer = HTTPBearer(auto_error=False, description="A token made by `starter.py tokens create`.")


class Bearers:
    """Tests the token of every request: it must be in use, within its limit, and have the scope that the
    endpoint needs."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime], settings: Settings) -> None:
        self._tokens = ledger.read_queue(tokens_in_use)
        self._limit = _CallLimit(now, settings)

    def may(self, *scopes: Scope) -> params.Security:
        """A dependency that only lets callers with one of some scopes pass."""
        return params.Security(_Check(self, scopes), scopes=[scope.value for scope in scopes])

    async def check(self, request: Request, *scopes: Scope) -> None:
        """Lets a request pass whose token has one of some scopes. Raises Problem for every other."""
        text = await self.text_in(request)
        token_id = token_id_in(text)
        found = None if token_id is None else await self._tokens.answer(token_id)
        self.admit(request, text, found, *scopes)

    async def text_in(self, request: Request) -> str:
        """The token that a request names; empty if it names none."""
        credentials = await _bearer(request)
        return credentials.credentials if credentials else ""

    def admit(self, request: Request, text: str, found: ServiceToken | None, *scopes: Scope) -> None:
        """Lets a request pass if its text is that of a token in use, with a scope; the token is as the ledger has
        it.

        Raises Problem for every other request, and if the token is over its limit.
        """
        token = self._counted(request, text, found)
        request.state.token_id = token.token_id
        if token.scopes.isdisjoint(scopes):
            named = " or ".join(scopes)
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "insufficient-scope",
                "Insufficient scope",
                f"this token does not have the scope {named}",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{" ".join(scopes)}"'},
            )

    def _counted(self, request: Request, text: str, found: ServiceToken | None) -> ServiceToken:
        if not is_the_token(found, text) or found is None:
            self._limit.count_address(request)
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "Unauthorized",
                "a bearer token that is in use is needed; an operator makes one with: starter.py tokens create",
                headers={"WWW-Authenticate": "Bearer"},
            )
        self._limit.count(f"token {found.token_id}")
        return found


class _Check(BeforeTheBody):
    """The dependency of an endpoint for callers with one of some scopes."""

    def __init__(self, bearers: Bearers, scopes: Sequence[Scope]) -> None:
        self._bearers = bearers
        self._scopes = scopes

    async def check(self, request: Request) -> None:
        """Tests a request as ``Bearers.check`` does."""
        await self._bearers.check(request, *self._scopes)

    # The parameter tells OpenAPI how callers show who they are.
    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> None:
        """The dependency."""
        await self.check_once(request)


class Anyone:
    """Asks for no token, and only counts the requests of an address."""

    def __init__(self, now: Callable[[], datetime], settings: Settings) -> None:
        self._limit = _CallLimit(now, settings)

    def may(self, _scope: Scope) -> params.Depends:
        """A dependency that lets everyone pass."""

        # Asynchronous, so that calls are counted on the event loop and not in a thread.
        async def check(request: Request) -> None:
            self._limit.count_address(request)

        return params.Depends(check)


class _CallLimit:
    """SOFT_STAKING_CALLS_PER_MINUTE, for each caller."""

    def __init__(self, now: Callable[[], datetime], settings: Settings) -> None:
        self._now = now
        self._limit = MinuteLimit(settings.calls_per_minute)
        self._proxies = settings.trusted_proxies

    def count_address(self, request: Request) -> None:
        """Counts a call of an address. Raises Problem if it is over the limit."""
        self.count(f"address {address_of(request, self._proxies)}")

    def count(self, subject: str) -> None:
        """Counts a call. Raises Problem if it is over the limit."""
        now = self._now()
        if self._limit.is_over(self._limit.use(subject, 1, now=now)):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too-many-calls",
                "Too many calls",
                f"more than {self._limit.most} calls in this minute",
                headers={"Retry-After": str(seconds_left(now))},
            )
