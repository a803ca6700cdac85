"""What was credited for a day, of all users: GET /v1/credits."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from ledger.reading.credits import CreditOfUser, credits_of_day
from ledger.service_tokens import Scope
from staking.models import Instant
from staking.money import Units
from staking.rewards import Outcome
from web.access.bearer import Bearers
from web.problems import problem_responses
from web.product_api.days import Day
from web.product_api.known_parameters import only_known_parameters
from web.service import Service

_PAGE_MAX = 1_000


class CreditLine(BaseModel):
    """One asset of a credit, with everything that recomputes its reward."""

    asset: str
    average: Units
    minimum: str
    cap: str
    apr: str
    reward: Units
    outcome: Outcome


class CreditAnswer(BaseModel):
    """The posting of a day's rewards to one user's spot account."""

    user: str
    entry_id: int = Field(description="Of the ledger; a day is credited once.")
    credited_at: Instant
    late: bool
    reversed_by: int | None = Field(description="The entry that took it back.")
    lines: list[CreditLine] = Field(description="By asset; also those that earned nothing.")


class CreditsAnswer(BaseModel):
    """Credits of a day, ordered by user."""

    day: date
    credits: list[CreditAnswer]
    next_after: str | None = Field(description="`after` of the next page; null on the last.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2026-10-02",
                    "credits": [
                        {
                            "user": "1001",
                            "entry_id": 14,
                            "credited_at": "2026-10-03T00:00:01Z",
                            "late": False,
                            "reversed_by": None,
                            "lines": [
                                {
                                    "asset": "SOL",
                                    "average": "10.12500000",
                                    "minimum": "1",
                                    "cap": "10000",
                                    "apr": "0.008",
                                    "reward": "0.00022191",
                                    "outcome": "earned",
                                }
                            ],
                        }
                    ],
                    "next_after": "1001",
                }
            ]
        }
    )


def routes(service: Service, bearers: Bearers) -> APIRouter:
    """The route."""

    async def of_day(
        day: Annotated[Day, Query(description="The accrual day.", examples=["2026-10-02"])],
        after: Annotated[
            str,
            Query(
                pattern="^[A-Za-z0-9._-]{0,64}$",
                description="`next_after` of the page before; left out for the first.",
            ),
        ] = "",
        limit: Annotated[int, Query(ge=1, le=_PAGE_MAX, description="At most so many credits on a page.")] = 500,
    ) -> CreditsAnswer:
        async with service.ledger.read() as connection:
            page = await credits_of_day(connection, day, after=after, size=limit)
        return CreditsAnswer(
            day=day, credits=[_credit(credit) for credit in page.credits], next_after=page.next_after
        )

    router = APIRouter(tags=["product services"], responses=problem_responses(401, 403, 422, 429, 503))
    router.add_api_route(
        "/v1/credits",
        of_day,
        response_model=CreditsAnswer,
        dependencies=[bearers.may(Scope.READ), only_known_parameters()],
        operation_id="getCredits",
        summary="All credits of a day, of all users",
        description="Ordered by user, in pages: send `next_after` as the `after` of the next page until it is "
        "null. A page may have fewer credits than `limit`, or none, and still not be the last. A user who earned "
        "nothing on the day has no credit.",
    )
    return router


def _credit(credit: CreditOfUser) -> CreditAnswer:
    first = credit.lines[0]
    assert first.entry_id is not None, "a credit is an entry"
    return CreditAnswer(
        user=credit.user_id,
        entry_id=first.entry_id,
        credited_at=first.credited_at,
        late=first.late,
        reversed_by=first.reversed_by,
        lines=[
            CreditLine(
                asset=line.asset,
                average=line.average,
                minimum=line.minimum,
                cap=line.cap,
                apr=line.apr,
                reward=line.reward,
                outcome=line.outcome,
            )
            for line in credit.lines
        ],
    )
