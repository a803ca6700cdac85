"""Sources report up to which instant they have sent everything: PUT /v1/sources/{name}, GET /v1/sources."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ledger.feed.sources import SOURCE_NAME, Source, all_sources, tell_complete
from ledger.service_tokens import Scope
from staking.models import Instant, Model
from web.access.bearer import Bearers
from web.body_limits import route_with_bodies_up_to
from web.problems import problem_responses
from web.product_api.known_parameters import only_known_parameters
from web.service import Service

_BODY_BYTES_MAX = 65_536
SourceName = Annotated[
    str,
    Path(description="The source's name, your own.", pattern=f"^{SOURCE_NAME.pattern}$", examples=["wallet"]),
]


def _text(value: object) -> object:
    # Pydantic would also accept a number of seconds or milliseconds.
    if not isinstance(value, str | datetime):
        raise ValueError("an instant is text such as 2026-10-02T00:00:00Z")
    return value


class SourceWord(Model):
    """A source's report that it has sent everything that happened before an instant."""

    complete_through: Annotated[Instant, BeforeValidator(_text)] = Field(
        description="With Z or an offset. It only rises: an earlier instant changes nothing.",
        examples=["2026-10-02T00:00:00Z"],
    )


class SourceAnswer(BaseModel):
    """A source and how far it is complete."""

    name: str
    complete_through: Instant
    told_at: Instant = Field(description="When the source last reported.")
    registered_at: Instant
    released_through: Instant | None = Field(
        description="Days up to this instant are closed without waiting for the source: an operator released them."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "wallet",
                    "complete_through": "2026-10-02T00:00:00Z",
                    "told_at": "2026-10-02T00:00:03.512Z",
                    "registered_at": "2026-09-01T08:00:00Z",
                    "released_through": None,
                }
            ]
        }
    )


class SourcesAnswer(BaseModel):
    """Every source, by name."""

    sources: list[SourceAnswer]


def routes(service: Service, bearers: Bearers) -> APIRouter:
    """The routes of sources."""
    router = APIRouter(
        tags=["feeds"],
        route_class=route_with_bodies_up_to(_BODY_BYTES_MAX),
        responses=problem_responses(401, 403, 422, 429, 503),
    )
    known = _Sources(service)
    router.add_api_route(
        "/v1/sources",
        known.list_all,
        response_model=SourcesAnswer,
        dependencies=[bearers.may(Scope.MOVE, Scope.READ), only_known_parameters()],
        operation_id="getSources",
        summary="The sources that must report a day's end before it is closed",
        description="Ordered by name. If there are none, days are closed as soon as they are over.",
    )
    router.add_api_route(
        "/v1/sources/{name}",
        known.tell,
        methods=["PUT"],
        response_model=SourceAnswer,
        responses=problem_responses(400, 409, 411, 413),
        dependencies=[bearers.may(Scope.MOVE), only_known_parameters()],
        operation_id="putSource",
        summary="Report that a source has sent everything that happened before an instant",
        description="A new name registers a source: from then on no day is closed for anyone before it is "
        "complete through the day's end. A repeat, or an earlier instant, changes nothing.",
    )
    return router


class _Sources:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def list_all(self) -> SourcesAnswer:
        async with self._service.ledger.read() as connection:
            return SourcesAnswer(sources=[_answer(source) for source in await all_sources(connection)])

    async def tell(self, name: SourceName, word: SourceWord) -> SourceAnswer:
        now = self._service.now()
        return _answer(await tell_complete(self._service.ledger, name, word.complete_through, now=now))


def _answer(source: Source) -> SourceAnswer:
    return SourceAnswer(
        name=source.name,
        complete_through=source.complete_through,
        told_at=source.told_at,
        registered_at=source.registered_at,
        released_through=source.released_through,
    )
