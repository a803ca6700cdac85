"""The endpoints that the exchange's existing clients speak: signed GET requests under /sapi/v1/soft-staking."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.security import APIKeyHeader
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import JSONResponse, Response

from contract.answers import Refusal
from contract.errors import NotTaken, RequestRefused, ServiceError
from ledger.api_keys import ApiKey, Profile, keys_in_use, profile_of, still_in_use_asked
from ledger.database.memory import Memory
from ledger.errors import LedgerUnavailable, NoProgram
from ledger.programs import ProgramVersion, all_versions, program_of_begun_day
from ledger.reading.earnings import (
    NOTHING,
    CreditedReward,
    Position,
    credited_rewards,
    positions,
)
from ledger.reading.plain import positions_asked, positions_in
from staking.days import day_of
from staking.models import RefusalReason
from staking.program import AssetTerms
from web.access.key_encryption import EncryptionKeyUnusable
from web.exchange_api import errors
from web.exchange_api.offer import NOTHING_OFFERED, Offer, plain
from web.exchange_api.openapi import (
    PAGE_PARAMETERS,
    SPAN_PARAMETERS,
    SWITCH_PARAMETERS,
    ProductList,
    RewardsHistory,
    SetAnswer,
    error_responses,
)
from web.exchange_api.part import ExchangePart
from web.exchange_api.public import SYSTEM_STATUS, system_status_router
from web.exchange_api.signed_query import MILLISECOND, SignedQuery, instant_at, microseconds, milliseconds_of
from web.exchange_api.signed_requests import WEIGHT_OF_A_CALL, Call, SignedRequests, key_named_by
from web.health import Health
from web.parts import add_part
from web.service import Service

_log = logging.getLogger(__name__)
_PREFIX = "/sapi/v1/soft-staking"
_USED_WEIGHT = "x-sapi-used-ip-weight-1m"
_RETRY_AFTER_S = 1
_SPAN_MS = timedelta(days=30) // MILLISECOND
_LONGEST_SPAN_MS = timedelta(days=92) // MILLISECOND
"""The longest that three months can be."""
_SIZE = 10
_LAST_PAGE = 1_000_000_000


def install(app: FastAPI, service: Service, process: Health | None = None) -> None:
    """Adds the routes to an application. Raises EncryptionKeyUnusable for a setting that cannot be read."""
    part = ExchangePart(service, header=_USED_WEIGHT, weight_of=_weight_of)
    signed = _routes(_Endpoints(service))
    part.include_router(signed)
    part.ask_directly(signed.routes)
    part.include_router(system_status_router(process))
    add_part(app, "/sapi", part)


def _weight_of(path: str) -> int:
    return 1 if path == SYSTEM_STATUS else WEIGHT_OF_A_CALL


def _routes(endpoints: "_Endpoints") -> APIRouter:
    header = APIKeyHeader(
        name="X-MBX-APIKEY", auto_error=False, description="A key made by `starter.py keys create`."
    )
    router = APIRouter(
        prefix=_PREFIX,
        tags=["existing clients"],
        dependencies=[Security(header)],
        responses=error_responses(400, 401, 403, 429, 503),
    )
    router.add_api_route(
        "/list",
        endpoints.list,
        response_model=ProductList,
        operation_id="getSoftStakingProductList",
        openapi_extra={"parameters": PAGE_PARAMETERS},
        summary="The program's assets, and how the account stands in each",
        description="`status` says whether the account is enrolled. A row is an asset of the program in force.",
    )
    router.add_api_route(
        "/set",
        endpoints.set,
        response_model=SetAnswer,
        operation_id="setSoftStaking",
        openapi_extra={"parameters": SWITCH_PARAMETERS},
        summary="Start or stop; a repeat changes nothing",
        description="A key that may only read cannot. A refusal has the code -26001, and every reason in `msg`.",
    )
    router.add_api_route(
        "/history/rewardsRecord",
        endpoints.rewards_record,
        response_model=RewardsHistory,
        operation_id="getSoftStakingRewardsHistory",
        openapi_extra={"parameters": SPAN_PARAMETERS},
        summary="Credited rewards, the newest first",
        description="Without `current` a page also holds the rest of the last millisecond that it reaches, so "
        "that whoever goes on with an `endTime` before that one misses nothing.",
    )
    return router


@dataclass(frozen=True)
class _Holder:
    """The key that a request names, if it is in use, and the account of its holder, as of one instant."""

    key: ApiKey | None
    account: Position
    offer: Offer


@dataclass(frozen=True)
class _Page:
    asset: str | None
    current: int | None
    size: int

    @property
    def offset(self) -> int | None:
        """None if no page number was asked for."""
        return None if self.current is None else (min(self.current, _LAST_PAGE) - 1) * self.size


class _Endpoints:
    """What each endpoint does."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._requests = SignedRequests(service)
        self._holders = service.ledger.read_queue(self._read_holders, self._read_known_holders)
        self._keys = Memory[ApiKey]()
        self._offer_of: ProgramVersion | None = None
        self._offer = NOTHING_OFFERED

    async def list(self, request: Request) -> Response:
        return await self._answer(request, self._list)

    async def set(self, request: Request) -> Response:
        return await self._answer(request, self._set)

    async def rewards_record(self, request: Request) -> Response:
        return await self._answer(request, self._rewards_record)

    async def _list(self, call: Call) -> Response:
        holder = await self._holders.answer(key_named_by(call))
        _, page = self._requests.admit_with(holder.key, call, ("asset", "current", "size"), _page)
        account, offer = holder.account, holder.offer
        if page.asset is not None and page.asset not in offer.assets:
            raise errors.unknown_asset()
        value = await self._value(account.totals, offer.assets)
        listed = [page.asset] if page.asset else offer.listed
        first = page.offset or 0
        rows = ",".join([offer.row(asset, account) for asset in listed[first : first + page.size]])
        is_on = "true" if account.is_enrolled else "false"
        # The text that json.dumps would write. json.dumps takes ten times as long, and most of the text is always
        # the same.
        text = f'{{"status":{is_on},"totalRewardsUsdt":"{plain(value)}","rows":[{rows}],"total":{len(listed)}}}'
        return Response(text, media_type="application/json")

    async def _set(self, call: Call) -> Response:
        async with self._service.ledger.read() as connection:
            key, wanted = await self._requests.admit(
                connection, call, ("softStaking",), lambda query: query.boolean("softStaking"), changes=True
            )
            profile = await profile_of(connection, key) if wanted else None
        try:
            if profile is not None:
                await self._activate(key.user_id, profile)
            else:
                await self._service.client.deactivate(key.user_id)
        except RequestRefused as error:
            if wanted or error.code != "NotEnrolled":
                raise errors.refused([RefusalReason(code=error.code, sentence=str(error))]) from error
        return JSONResponse({"success": True})

    async def _rewards_record(self, call: Call) -> Response:
        names = ("asset", "startTime", "endTime", "current", "size")

        def read(query: SignedQuery) -> tuple[_Page, tuple[datetime, datetime]]:
            return _page(query), _span(query, call.now)

        async with self._service.ledger.read() as connection:
            key, (page, (since, until)) = await self._requests.admit(connection, call, names, read)
            if page.asset is not None:
                await _check_was_ever_offered(connection, page.asset)
            found = await credited_rewards(
                connection,
                key.user_id,
                since=since,
                until=until,
                asset=page.asset,
                offset=page.offset,
                limit=page.size,
            )
        return JSONResponse({"rows": [_record(reward) for reward in found.rewards], "total": found.total})

    async def _read_holders(self, connection: AsyncConnection, asked: Sequence[str]) -> dict[str, _Holder]:
        """The queue of questions for the list, by key. Keys and accounts of several requests are read together,
        which shares the cost."""
        now = self._service.now()
        keys = await keys_in_use(connection, asked)
        for text, key in keys.items():
            self._keys.keep(text, key)
        accounts = await positions(connection, sorted({key.user_id for key in keys.values()}), now)
        offer = await self._offered(connection, now)
        return {text: _Holder(key, position(key, accounts), offer) for text in asked for key in [keys.get(text)]}

    async def _read_known_holders(self, asked: Sequence[str]) -> dict[str, _Holder]:
        """Holders of keys that were read before, in one go: all that can change of a key is that it is revoked."""
        ledger, now = self._service.ledger, self._service.now()
        keys = {text: key for text in asked if (key := self._keys.find(text))}
        version = ledger.program_memory.find(day_of(now))
        if not keys or version is None:
            return {}
        users = [*{key.user_id for key in keys.values()}]
        found = await ledger.read_in_one_go(still_in_use_asked([*keys]), *positions_asked(users, now))
        if found is None:
            return {}
        in_use = {row.api_key for row in found[0]}
        accounts, offer = positions_in(found[1:], users), self._offer_in(version)
        nobody = _Holder(None, NOTHING, offer)
        return {
            text: _Holder(key, accounts[key.user_id], offer) if text in in_use else nobody
            for text, key in keys.items()
            if text not in in_use or key.user_id in accounts
        }

    async def _offered(self, connection: AsyncConnection, now: datetime) -> Offer:
        try:
            # A day that has begun keeps its terms, as a closed day does (I7).
            version = await program_of_begun_day(self._service.ledger, connection, day_of(now))
        except NoProgram:
            return NOTHING_OFFERED
        return self._offer_in(version)

    def _offer_in(self, version: ProgramVersion) -> Offer:
        if version is not self._offer_of:
            self._offer_of, self._offer = version, Offer(version.program.assets)
        return self._offer

    async def _value(self, earned: Mapping[str, int], offered: Mapping[str, AssetTerms]) -> int:
        """The value of rewards in units of USDT: at the reference price in force, or at the last reference
        price of an asset that has left the program."""
        terms = dict(offered)
        if not earned.keys() <= terms.keys():
            async with self._service.ledger.read() as connection:
                versions = await all_versions(connection)
            for version in versions:
                terms |= {asset: then for asset, then in version.program.assets.items() if asset not in offered}
        return sum(terms[asset].reference_value(units) for asset, units in earned.items())

    async def _activate(self, user_id: str, profile: Profile) -> None:
        if profile.region is None:
            reason = RefusalReason(code="region_unknown", sentence="This key was made without a region.")
            raise errors.refused([reason])
        answer = await self._service.client.activate(
            user_id, region=profile.region, channel="api", documents=profile.documents
        )
        if isinstance(answer, Refusal):
            raise errors.refused(answer.reasons)

    async def _answer(self, request: Request, endpoint: Callable[[Call], Awaitable[Response]]) -> Response:
        """What an endpoint answers, or why there is no answer yet."""
        try:
            return await endpoint(Call(request, self._service.now()))
        except (NotTaken, LedgerUnavailable, EncryptionKeyUnusable) as error:
            _log.error("%s", error)
            raise errors.unavailable(_RETRY_AFTER_S) from error
        except ServiceError as error:
            _log.error("%s", error)
            raise errors.no_answer(_RETRY_AFTER_S) from error


def position(key: ApiKey | None, accounts: Mapping[str, Position]) -> Position:
    """The position of a key's holder; that of nobody if the key is not in use."""
    return NOTHING if key is None else accounts[key.user_id]


def _page(query: SignedQuery) -> _Page:
    return _Page(
        asset=query.asset(),
        current=query.integer_in("current", least=1, most=None),
        size=query.integer_in("size", least=1, most=100) or _SIZE,
    )


def _span(query: SignedQuery, now: datetime) -> tuple[datetime, datetime]:
    """The span that was asked for: 30 days from or to the given time, by default the last 30 days.

    It is in whole milliseconds, as `time` is: a reward is within the span if its `time` is.
    """
    start, end = (
        None if instant is None else microseconds(instant) // 1000
        for instant in (query.integer("startTime"), query.integer("endTime"))
    )
    if start is None:
        end = milliseconds_of(now) if end is None else end
        start = max(end - _SPAN_MS, 0)
    elif end is None:
        end = start + _SPAN_MS
    if start > end:
        raise errors.start_after_end()
    if end - start > _LONGEST_SPAN_MS:
        raise errors.interval_too_big()
    return instant_at(start * 1000), instant_at(end * 1000)


async def _check_was_ever_offered(connection: AsyncConnection, asset: str) -> None:
    if not any(asset in version.program.assets for version in await all_versions(connection)):
        raise errors.unknown_asset()


def _record(reward: CreditedReward) -> dict[str, Any]:
    return {
        "asset": reward.asset,
        "rewards": plain(reward.reward),
        "rewardAsset": reward.asset,
        "avgAmount": plain(reward.average),
        "time": milliseconds_of(reward.credited_at),
    }
