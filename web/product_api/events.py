"""Events as they happen: GET /v1/events."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from contract.events import CloudEvent, EventKind, event_kind
from ledger.events.horizon import LOOKS_EVERY_S
from ledger.events.readers import TOKEN, note_reader
from ledger.events.reading import EVENTS_MAX, EventPage, events_after
from ledger.service_tokens import Scope
from web.access.bearer import Bearers
from web.problems import problem_responses
from web.product_api.known_parameters import only_known_parameters
from web.service import Service

WAIT_S_MAX = 30
_NOTED_EVERY = timedelta(minutes=1)
_NUMBER_MAX = 2**63 - 1


def _number(text: str) -> str:
    # Only what can be a number of an event, since a cursor is not made by the caller.
    if not (text.isascii() and text.isdecimal() and int(text) <= _NUMBER_MAX):
        raise ValueError(f"{text[:40]!r} is no cursor: it is the `cursor` of an answer or of an event")
    return text


def _kinds(text: str | None) -> list[EventKind]:
    return [] if text is None else [event_kind(kind) for kind in text.split(",")]


def _checked(text: str | None) -> str | None:
    _kinds(text)
    return text


class EventsAnswer(BaseModel):
    """Events in their order."""

    events: list[CloudEvent]
    cursor: str = Field(description="Send it as `after` for what comes next.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "specversion": "1.0",
                            "id": "reward.credited/1001/2026-10-02",
                            "source": "/soft-staking",
                            "type": "reward.credited",
                            "subject": "1001",
                            "time": "2026-10-03T00:00:01Z",
                            "datacontenttype": "application/json",
                            "cursor": "17",
                            "data": {
                                "day": "2026-10-02",
                                "credited_at": "2026-10-03T00:00:01Z",
                                "late": False,
                                "entry_id": 14,
                                "lines": [{"asset": "SOL", "reward": "0.00022191", "outcome": "earned"}],
                            },
                        }
                    ],
                    "cursor": "17",
                }
            ]
        }
    )


def routes(service: Service, bearers: Bearers) -> APIRouter:
    """The route of events."""
    router = APIRouter(tags=["events"], responses=problem_responses(401, 403, 410, 422, 429, 503))
    router.add_api_route(
        "/v1/events",
        _Events(service).list_after,
        response_model=EventsAnswer,
        dependencies=[bearers.may(Scope.EVENTS), only_known_parameters()],
        operation_id="getEvents",
        summary="What happened since a cursor",
        description="Events in their order, each a CloudEvent 1.0 whose `data` docs/events/ describes. Each event "
        "comes once in a walk from cursor to cursor, and those of one user in the order in which they happened. "
        "With `wait` it answers as soon as there is an event, or then without one. 410 means that the cursor is "
        "not known any more.",
    )
    return router


After = Annotated[
    str,
    Query(
        description="The `cursor` of the last answer, or of an event; left out: from the oldest event kept.",
        pattern="^[0-9]{1,19}$",
        examples=["17"],
    ),
    AfterValidator(_number),
]
Limit = Annotated[int, Query(ge=1, le=EVENTS_MAX, description="How many events at most.")]
Wait = Annotated[int, Query(ge=0, le=WAIT_S_MAX, description="Seconds to wait for an event if there is none.")]
Types = Annotated[
    str | None,
    Query(description="Only these types, separated by commas.", examples=["reward.credited,reward.reversed"]),
    AfterValidator(_checked),
]


class _Events:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._noted: dict[str, datetime] = {}
        """When a reader was last recorded, by its name."""

    async def list_after(
        self, request: Request, after: After = "0", limit: Limit = 500, wait: Wait = 0, types: Types = None
    ) -> Response:
        cursor = int(after)
        page = await self._page(request, cursor, limit, wait, _kinds(types))
        await self._note(f"{TOKEN}{request.state.token_id}", cursor)
        told = ", ".join(event.json for event in page.events)
        return Response(f'{{"events": [{told}], "cursor": "{page.cursor}"}}', media_type="application/json")

    async def _page(
        self, request: Request, after: int, limit: int, wait_s: int, kinds: Sequence[EventKind]
    ) -> EventPage:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        page = await events_after(self._service.ledger, after, limit=limit, kinds=kinds)
        while not page.events and loop.time() < until_s and not await request.is_disconnected():
            await asyncio.sleep(LOOKS_EVERY_S)
            page = await events_after(
                self._service.ledger, page.cursor, limit=limit, kinds=kinds, age_s_max=LOOKS_EVERY_S
            )
        return page

    async def _note(self, reader: str, cursor: int) -> None:
        """Seldom, since it only decides what may be pruned after weeks."""
        now = self._service.now()
        if cursor and now - self._noted.get(reader, datetime.min.replace(tzinfo=now.tzinfo)) >= _NOTED_EVERY:
            await note_reader(self._service.ledger, reader, cursor, now=now)
            self._noted[reader] = now
