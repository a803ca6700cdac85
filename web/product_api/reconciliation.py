"""What another system compares first, before single balances: GET /v1/reconciliation/{day}."""

import asyncio
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from ledger.errors import InTheFuture
from ledger.feed.sources import all_sources
from ledger.reading.boundary_balances import balances_digest
from ledger.service_tokens import Scope
from staking.days import start_of
from staking.models import Instant
from staking.money import Units
from web.access.bearer import Bearers
from web.problems import problem_responses
from web.product_api.days import Day
from web.product_api.known_parameters import only_known_parameters
from web.product_api.shared_answers import SharedAnswers
from web.service import Service


class AssetTotalAnswer(BaseModel):
    """All balances of an asset."""

    asset: str
    balance: Units
    users: int = Field(description="How many users held any of it.")


class ReconciliationAnswer(BaseModel):
    """What all users held just before a boundary."""

    day: date
    boundary: Instant = Field(description="00:00 UTC of the day. What counts from it on is not in it.")
    totals: list[AssetTotalAnswer] = Field(
        description="The totals of each asset. Assets of which nobody held anything are left out."
    )
    digest: str = Field(
        description="SHA-256, in lower-case hexadecimal, of a line `user asset balance` and a line feed for each "
        "balance above zero, ordered by the bytes of user and asset."
    )
    late_sources: list[str] = Field(
        description="Sources that have not reported that they are complete through the boundary."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2026-10-02",
                    "boundary": "2026-10-02T00:00:00Z",
                    "totals": [
                        {"asset": "SOL", "balance": "12.50000000", "users": 2},
                        {"asset": "USDT", "balance": "525.00000000", "users": 1},
                    ],
                    "digest": "a328bf7eeb19d6c0f55cf29b195c487784c191f5bc84f924b036f61358a889a6",
                    "late_sources": [],
                }
            ]
        }
    )


def routes(service: Service, bearers: Bearers) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["product services"], responses=problem_responses(401, 403, 409, 422, 429, 503))
    router.add_api_route(
        "/v1/reconciliation/{day}",
        _Reconciliation(service).of_day,
        response_model=ReconciliationAnswer,
        dependencies=[bearers.may(Scope.READ), only_known_parameters()],
        operation_id="getReconciliation",
        summary="Totals per asset and a digest of all balances at a boundary",
        description="Of what every user held just before 00:00 UTC of the day, which is what the day before "
        "closed with. A million balances take some seconds. Refused for a day that has not begun.",
    )
    return router


class _Reconciliation:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._answers = SharedAnswers(self._find)
        # Each reads all balances, and nobody's other requests should wait for several of these.
        self._turn = asyncio.Lock()

    async def of_day(
        self, day: Annotated[Day, Path(description="Its 00:00 UTC is the boundary.", examples=["2026-10-02"])]
    ) -> Response:
        if start_of(day) > self._service.now():
            raise InTheFuture(f"{day} has not begun; balances are those of a boundary that is past")
        return Response(await self._answers.answer(day.isoformat()), media_type="application/json")

    async def _find(self, text: str) -> bytes:
        day = date.fromisoformat(text)
        boundary = start_of(day)
        async with self._turn, self._service.ledger.read(takes_long=True) as connection:
            sources = await all_sources(connection)
            found = await balances_digest(connection, boundary)
        answer = ReconciliationAnswer(
            day=day,
            boundary=boundary,
            totals=[
                AssetTotalAnswer(asset=asset, balance=total.balance, users=total.users)
                for asset, total in found.totals.items()
            ],
            digest=found.digest,
            late_sources=[source.name for source in sources if source.complete_through < boundary],
        )
        return answer.model_dump_json().encode()
