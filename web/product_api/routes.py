"""The API for product services: /v1/accounts/{user}/soft-staking, with bearer tokens and problem details."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Body, FastAPI, Path, Query, Request, params
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from contract.acts import check_text
from contract.answers import ENDED_BY_OPERATOR, End, Receipt, Refusal
from contract.errors import ServiceError
from contract.live_status import Blocked, LiveStatus
from ledger.database.memory import Memory
from ledger.enrolments import is_recorded
from ledger.reading.doing import UNKNOWN, Doing, doing, doing_nothing, may_be_at_work
from ledger.reading.plain import standings_asked, standings_in
from ledger.reading.standing import Standing, TagColour, standing_of, standings_of
from ledger.reading.statements import StatementLine, first_credited_day, statement
from ledger.service_tokens import Scope, ServiceToken, still_in_use_asked, tokens_in_use
from staking.days import ONE_DAY, day_of
from staking.models import REASON_LENGTH_MAX, USER_ID, Instant, Model, UserId
from staking.money import Units
from staking.rewards import Outcome
from web.access.bearer import Bearers
from web.access.tokens import token_id_in
from web.body_limits import route_with_bodies_up_to
from web.parts import add_part
from web.problems import Problem, install_problems, problem_responses, refusal
from web.product_api import day_credits, events, movements, offer, reconciliation, sources
from web.product_api.days import Day
from web.product_api.direct_routes import DirectRoute, PartWithDirectRoutes
from web.product_api.known_parameters import only_known_parameters
from web.product_api.shared_answers import SharedAnswers
from web.product_api.state import State, state_in
from web.service import Service

_PREFIX = "/v1/accounts/{user}/soft-staking"
_BODY_BYTES_MAX = 65_536
_PAGE_DAYS_MAX = 366
_END_REASON = (
    "The reason that was given with `deactivate`, or `region_restricted:` and the region; "
    f"`{ENDED_BY_OPERATOR}` if an operator ended it, whose own reason is not shown."
)


def _reason(text: str) -> str:
    return check_text("reason", text)


User = Annotated[
    UserId,
    Path(description="The user's opaque id.", pattern=f"^{USER_ID.pattern}$", examples=["1001"]),
]


_Reading: TypeAlias = tuple[ServiceToken | None, Standing | None]
"""A token, and an account that is read only if the token is in use."""
_NOBODY: _Reading = (None, None)


class ActivationRequest(Model):
    """What a user did and saw when pressing Start Earning."""

    region: str = Field(description="A code of ISO 3166-1 or 3166-2.", examples=["FR"])
    channel: Literal["web", "app", "api"] = Field(
        description="Where the user pressed Start Earning. On `app` the app's version is tested."
    )
    app_version: str | None = Field(default=None, examples=["3.1.0"])
    documents: dict[str, str] = Field(
        default_factory=dict[str, str], description="The document versions that were shown and accepted, by name."
    )


class DeactivationRequest(Model):
    """Why an enrolment is ended."""

    reason: Annotated[str, AfterValidator(_reason)] = Field(
        default="asked by the user",
        min_length=1,
        max_length=REASON_LENGTH_MAX,
        description="The reason, which is recorded with the enrolment.",
    )


_NO_REASON = DeactivationRequest()
# null means no body, for clients that must send something. The schema does not mention it, since generated clients
# fail at that.
_MaybeReason = Annotated[DeactivationRequest, BeforeValidator(lambda body: _NO_REASON if body is None else body)]


class EndAnswer(BaseModel):
    """How an enrolment ended; a repeat gets the same."""

    enrolment_id: str
    ended_at: Instant
    last_accrual_day: date | None = Field(description="Null if no day has earned.")
    owed_days: int = Field(description="Accrual days that were not credited yet; they are still paid.")
    reason: str = Field(description=_END_REASON)
    message: str | None = Field(description="The text for the user of the operator who ended it.")


class Tag(BaseModel):
    """Rule 8: the one asset beside which the tag stands."""

    asset: str
    colour: TagColour = Field(description="Yellow while Soft Staking is on, grey otherwise.")


class TagAnswer(BaseModel):
    user: str
    tag: Tag | None = Field(description="Null if no program asset is held at or above its minimum.")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user": "1001", "tag": {"asset": "SOL", "colour": "yellow"}}]}
    )


class AccountStatus(BaseModel):
    """How an account stands. An account about which nothing is recorded is simply not enrolled."""

    user: str
    enrolled: bool
    state: State = Field(
        description="If nothing is to be done before the next boundary: `sleeping`, `ended` or `not_enrolled`. "
        "Otherwise the workflow's state; `not_running` if there is no workflow; `unknown` while it does not "
        "answer."
    )
    state_text: str = Field(description="The same in English words, for people.")
    tag: Tag | None
    enrolment_id: str | None = Field(
        description="The id of the open enrolment, or of the latest one if none is open."
    )
    activated_at: Instant | None
    first_snapshot_at: Instant | None
    first_reward_from: Instant | None
    first_reward_until: Instant | None
    ended_at: Instant | None
    end_reason: str | None = Field(description=_END_REASON)
    message: str | None = Field(
        description="An operator's text for the user about a hold or an end. Show it as it is."
    )
    last_credited_day: date | None
    owed_days: list[date]
    day_in_progress: date | None
    next_boundary: Instant | None
    blocked: Blocked | None
    holdings: dict[str, Units]
    totals: dict[str, Units] = Field(
        description="For each asset, the sum of all rewards that were credited and not reversed."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user": "1001",
                    "enrolled": True,
                    "state": {"code": "sleeping", "parameters": {}},
                    "state_text": "sleeping",
                    "tag": {"asset": "SOL", "colour": "yellow"},
                    "enrolment_id": "d352529d-845d-49a0-a426-af0d8931c289",
                    "activated_at": "2026-10-01T10:00:00Z",
                    "first_snapshot_at": "2026-10-02T00:00:00Z",
                    "first_reward_from": "2026-10-03T00:00:00Z",
                    "first_reward_until": "2026-10-03T08:00:00Z",
                    "ended_at": None,
                    "end_reason": None,
                    "message": None,
                    "last_credited_day": "2026-10-02",
                    "owed_days": [],
                    "day_in_progress": "2026-10-03",
                    "next_boundary": "2026-10-04T00:00:00Z",
                    "blocked": None,
                    "holdings": {"SOL": "10.50022191"},
                    "totals": {"SOL": "0.00022191"},
                }
            ]
        }
    )


class Reward(BaseModel):
    """One credited accrual day and asset, with everything that is needed to recompute its reward."""

    day: date
    asset: str
    opening: Units
    closing: Units
    average: Units
    minimum: str
    cap: str
    apr: str
    reward: Units
    outcome: Outcome
    credited_at: Instant
    late: bool
    reference_value_usdt: Units
    entry_id: int | None
    reversed_by: int | None


class RewardsPage(BaseModel):
    user: str
    rewards: list[Reward] = Field(
        description="Ordered by day and asset. Days on which nothing was earned have lines too."
    )
    next_from: date | None = Field(description="The `from` of the next page; null on the last page.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user": "1001",
                    "rewards": [
                        {
                            "day": "2026-10-02",
                            "asset": "SOL",
                            "opening": "12.00000000",
                            "closing": "10.50000000",
                            "average": "10.12500000",
                            "minimum": "1",
                            "cap": "10000",
                            "apr": "0.008",
                            "reward": "0.00022191",
                            "outcome": "earned",
                            "credited_at": "2026-10-03T00:00:01Z",
                            "late": False,
                            "reference_value_usdt": "0.03328650",
                            "entry_id": 14,
                            "reversed_by": None,
                        }
                    ],
                    "next_from": "2026-10-03",
                }
            ]
        }
    )


_ACTIVATION_EXAMPLES: dict[str, Any] = {
    "on the web": {
        "value": {
            "region": "FR",
            "channel": "web",
            "documents": {
                "terms_of_use": "2026-01-01",
                "soft_staking_terms": "2026-01-01",
                "risk_warning": "2026-01-01",
            },
        }
    }
}


def install(app: FastAPI, service: Service) -> None:
    """Adds the routes to an application."""
    part = PartWithDirectRoutes(
        title="Soft Staking for product services",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install_problems(part)
    bearers = Bearers(service.ledger, service.now, service.settings)
    accounts = _Accounts(service)
    routes = _routes(accounts, bearers)
    part.answer_directly(_Direct(service, accounts, bearers).routes(routes))
    part.include_router(routes)
    part.include_router(movements.routes(service, bearers))
    part.include_router(sources.routes(service, bearers))
    part.include_router(reconciliation.routes(service, bearers))
    part.include_router(day_credits.routes(service, bearers))
    part.include_router(offer.routes(service, bearers))
    part.include_router(events.routes(service, bearers))
    add_part(app, "/v1", part)


def _routes(accounts: "_Accounts", bearers: Bearers) -> APIRouter:
    router = APIRouter(
        prefix=_PREFIX,
        tags=["product services"],
        route_class=route_with_bodies_up_to(_BODY_BYTES_MAX),
        responses=problem_responses(401, 403, 422, 429, 503),
    )
    of_a_body = problem_responses(400, 409, 411, 413)

    def for_callers_with(scope: Scope) -> Sequence[params.Depends]:
        return [bearers.may(scope), only_known_parameters()]

    router.add_api_route(
        "/status",
        accounts.status,
        response_model=AccountStatus,
        dependencies=for_callers_with(Scope.READ),
        operation_id="getAccountStatus",
        summary="How an account stands",
        description="Enrolment, tag, holdings, owed days and totals from the ledger, and, where days are owed or "
        "an operator holds the user, what the workflow does just now. An account that nobody knows is answered as "
        "one that is not enrolled.",
    )
    router.add_api_route(
        "/tag",
        accounts.tag,
        response_model=TagAnswer,
        dependencies=for_callers_with(Scope.READ),
        operation_id="getAccountTag",
        summary="The tag beside one asset",
        description="From the ledger alone, for pages that show many assets: the one asset that bears the tag.",
    )
    router.add_api_route(
        "/rewards",
        accounts.rewards,
        response_model=RewardsPage,
        dependencies=for_callers_with(Scope.READ),
        operation_id="getAccountRewards",
        summary="Credited days, each with everything that recomputes its reward",
        description="Lines ordered by day and asset. Where `next_from` is not null, send it as the `from` of the "
        "next page.",
    )
    router.add_api_route(
        "/activate",
        accounts.activate,
        methods=["POST"],
        response_model=Receipt,
        responses=of_a_body,
        dependencies=for_callers_with(Scope.ACTIVATE),
        operation_id="activateAccount",
        summary="Start Earning; a repeat answers the first receipt",
        description="Durable once answered. Refused with the type `/problems/not-eligible` and every reason.",
    )
    router.add_api_route(
        "/deactivate",
        accounts.deactivate,
        methods=["POST"],
        response_model=EndAnswer,
        responses=of_a_body,
        dependencies=for_callers_with(Scope.DEACTIVATE),
        operation_id="deactivateAccount",
        summary="Stop immediately; owed days are still paid, a repeat answers the first end",
        description="Durable once answered. The day of the end earns nothing. A body may be left out.",
    )
    return router


class _Accounts:
    """What each endpoint does, once it is clear that the caller may call it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._standings = service.ledger.read_queue(self._read_standings)
        # A query takes a worker and Temporal more time than everything else here.
        self._live_statuses = SharedAnswers(self._find_live_status)

    async def status(self, user: User) -> Response:
        return await self.status_of(await self._standings.answer(user))

    async def status_of(self, standing: Standing) -> Response:
        """The status of a user whose standing was just read from the ledger."""
        if may_be_at_work(standing):
            text = await self._live_statuses.answer(standing.user_id)
        else:
            text = _json(_status(standing, doing_nothing(standing, day_of(self._service.now()))))
        return Response(text, media_type="application/json")

    async def _read_standings(self, connection: AsyncConnection, asked: Sequence[str]) -> dict[str, Standing]:
        return await standings_of(self._service.ledger, connection, asked, now=self._service.now())

    async def _find_live_status(self, user: str) -> bytes:
        live, answers = None, True
        try:
            live = await self._service.client.status(user)
        except ServiceError:
            answers = False
        # The ledger is read second. So it may be ahead of what the workflow said, but never behind it.
        standing = await standing_of(self._service.ledger, user, now=self._service.now())
        if live is not None and not await self._is_ours(standing, live):
            # If the workflow's worker writes to another ledger than ours, nothing can be said about it.
            live, answers = None, False
        return _json(_status(standing, doing(standing, live) if answers else UNKNOWN))

    async def _is_ours(self, standing: Standing, live: LiveStatus) -> bool:
        """Whether the enrolment that a workflow speaks of is recorded here."""
        if live.enrolment_id is None or (standing.receipt and standing.receipt.enrolment_id == live.enrolment_id):
            return True
        async with self._service.ledger.read() as connection:
            return await is_recorded(connection, live.enrolment_id)

    async def tag(self, user: User) -> Response:
        return await self.tag_of(await self._standings.answer(user))

    async def tag_of(self, standing: Standing) -> Response:
        """The tag of a user whose standing was just read from the ledger."""
        return Response(_json(TagAnswer(user=standing.user_id, tag=_tag(standing))), media_type="application/json")

    async def rewards(
        self,
        user: User,
        first: Annotated[Day | None, Query(alias="from", description="First day.")] = None,
        last: Annotated[Day | None, Query(alias="to", description="Last day.")] = None,
        days: Annotated[
            int, Query(ge=1, le=_PAGE_DAYS_MAX, description="At most so many calendar days on a page.")
        ] = 31,
    ) -> RewardsPage:
        if first is not None and last is not None and first > last:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "invalid-request",
                "Invalid request",
                f"from {first} is after to {last}",
                errors=[{"field": "query.from", "message": f"{first} is after to, {last}"}],
            )
        async with self._service.ledger.read() as connection:
            begins = await first_credited_day(connection, user, first or date.min)
            if begins is None or (last is not None and begins > last):
                return RewardsPage(user=user, rewards=[], next_from=None)
            ends = begins + timedelta(days=days - 1)
            ends = ends if last is None else min(ends, last)
            lines = await statement(connection, [user], first=begins, last=ends)
            following = await first_credited_day(connection, user, ends + ONE_DAY)
        if following is not None and last is not None and following > last:
            following = None
        return RewardsPage(user=user, rewards=[_reward(line) for line in lines], next_from=following)

    async def activate(
        self, user: User, request: Annotated[ActivationRequest, Body(openapi_examples=_ACTIVATION_EXAMPLES)]
    ) -> Receipt:
        answer = await self._service.client.activate(
            user,
            region=request.region,
            channel=request.channel,
            documents=request.documents,
            app_version=request.app_version,
        )
        if isinstance(answer, Refusal):
            raise refusal(answer.reasons)
        return answer

    async def deactivate(self, user: User, request: Annotated[_MaybeReason, Body()] = _NO_REASON) -> EndAnswer:
        return _end(await self._service.client.deactivate(user, request.reason))


class _Direct:
    """The requests that product services send all the time. Token and account are read together, without
    FastAPI's own reading of a request, which takes longer than the answer."""

    def __init__(self, service: Service, accounts: _Accounts, bearers: Bearers) -> None:
        self._service = service
        self._accounts = accounts
        self._bearers = bearers
        self._readings = service.ledger.read_queue(self._read, self._read_known)
        self._tokens = Memory[ServiceToken]()

    def routes(self, router: APIRouter) -> list[DirectRoute]:
        """They stand before the routes that answer the same for every request, and that appear in the OpenAPI."""
        answers = {"status": self._accounts.status_of, "tag": self._accounts.tag_of}
        return [
            DirectRoute(route, self._endpoint(answers[name]), user=USER_ID)
            for route in router.routes
            if isinstance(route, APIRoute) and (name := route.path.removeprefix(f"{_PREFIX}/")) in answers
        ]

    def _endpoint(
        self, answer: Callable[[Standing], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            text = await self._bearers.text_in(request)
            token_id = token_id_in(text)
            token, standing = (
                _NOBODY
                if token_id is None
                else await self._readings.answer((token_id, request.path_params["user"]))
            )
            self._bearers.admit(request, text, token, Scope.READ)
            assert standing is not None, "an account is read for whoever has a token"
            return await answer(standing)

        return endpoint

    async def _read(
        self, connection: AsyncConnection, asked: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], _Reading]:
        """The reading for each token and user that were asked for."""
        tokens = await tokens_in_use(connection, sorted({token_id for token_id, _ in asked}))
        for token_id, token in tokens.items():
            if token is not None:
                self._tokens.keep(token_id, token)
        users = sorted({user for token_id, user in asked if tokens[token_id]})
        standings = (
            await standings_of(self._service.ledger, connection, users, now=self._service.now()) if users else {}
        )
        return {(token_id, user): (tokens[token_id], standings.get(user)) for token_id, user in asked}

    async def _read_known(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], _Reading]:
        """Readings for tokens that were read before: all that can change of a token is that it is revoked."""
        ledger, now = self._service.ledger, self._service.now()
        version = ledger.program_memory.find(day_of(now))
        pairs = [pair for pair in asked if self._tokens.find(pair[0])]
        if not pairs or version is None:
            return {}
        users = [*{user for _, user in pairs}]
        tokens = [*{token_id for token_id, _ in pairs}]
        found = await ledger.read_in_one_go(still_in_use_asked(tokens), *standings_asked(users, now))
        if found is None:
            return {}
        in_use = {row.token_id for row in found[0]}
        standings = standings_in(found[1:], users, version.program, day_of(now))
        return {
            (token_id, user): (self._tokens.find(token_id), standings[user]) if token_id in in_use else _NOBODY
            for token_id, user in pairs
            if token_id not in in_use or user in standings
        }


def _end(end: End) -> EndAnswer:
    return EndAnswer(
        enrolment_id=end.enrolment_id,
        ended_at=end.ended_at,
        last_accrual_day=end.last_accrual_day,
        owed_days=end.owed_days,
        reason=ENDED_BY_OPERATOR if end.operator else end.reason,
        message=end.tell,
    )


def _json(answer: BaseModel) -> bytes:
    return answer.model_dump_json().encode()


def _tag(standing: Standing) -> Tag | None:
    if standing.tagged_asset is None:
        return None
    return Tag(asset=standing.tagged_asset, colour=standing.tag_colour)


def _status(standing: Standing, doing: Doing) -> AccountStatus:
    receipt = standing.receipt
    return AccountStatus(
        user=standing.user_id,
        enrolled=standing.enrolled,
        state=state_in(doing.state),
        state_text=doing.state,
        tag=_tag(standing),
        enrolment_id=receipt and receipt.enrolment_id,
        activated_at=receipt and receipt.activated_at,
        first_snapshot_at=receipt and receipt.first_snapshot_at,
        first_reward_from=receipt and receipt.first_reward_from,
        first_reward_until=receipt and receipt.first_reward_until,
        ended_at=standing.ended_at,
        end_reason=ENDED_BY_OPERATOR if standing.end_operator else standing.end_reason,
        message=" ".join(standing.told) or None,
        last_credited_day=standing.last_credited_day,
        owed_days=standing.owed_days,
        day_in_progress=doing.day_in_progress,
        next_boundary=doing.next_boundary,
        blocked=doing.blocked,
        holdings=standing.holdings,
        totals=standing.totals,
    )


def _reward(line: StatementLine) -> Reward:
    return Reward(
        day=line.day,
        asset=line.asset,
        opening=line.opening,
        closing=line.closing,
        average=line.average,
        minimum=line.minimum,
        cap=line.cap,
        apr=line.apr,
        reward=line.reward,
        outcome=line.outcome,
        credited_at=line.credited_at,
        late=line.late,
        reference_value_usdt=line.reference_value,
        entry_id=line.entry_id,
        reversed_by=line.reversed_by,
    )
