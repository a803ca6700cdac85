"""GET /v1/events: what happened, in order, from cursor to cursor."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from polling import eventually
from web_api import Web, a_web, make_token
from world import World, at, day

from contract.events import CloudEvent
from ledger.events.readers import all_readers
from ledger.service_tokens import Scope
from web.product_api.events import EventsAnswer

D1, D2 = day("2026-10-01"), day("2026-10-02")


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    return await a_web(world, tmp_path)


@pytest.fixture
async def reader(web: Web) -> dict[str, str]:
    return await make_token(web.world, Scope.EVENTS)


async def events(web: Web, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    response = await web.get(f"/v1/events{query}", headers)
    assert response.status_code == 200, response.text
    EventsAnswer.model_validate_json(response.content)
    return response.json()


async def test_a_walk_from_cursor_to_cursor_gives_every_event_once(web: Web, reader: dict[str, str]) -> None:
    whole = await events(web, reader)
    assert [event["type"] for event in whole["events"]] == [
        "program.applied",
        "enrolment.began",
        "reward.credited",
    ]
    walked, cursor = [], "0"
    while page := (answer := await events(web, reader, f"?after={cursor}&limit=1"))["events"]:
        walked += page
        cursor = answer["cursor"]
    assert walked == whole["events"]
    assert cursor == whole["cursor"] == whole["events"][-1]["cursor"]


async def test_only_the_types_that_are_asked_for_come_and_the_cursor_passes_the_others(
    web: Web, reader: dict[str, str]
) -> None:
    answer = await events(web, reader, "?types=reward.reversed,enrolment.began")
    assert [event["type"] for event in answer["events"]] == ["enrolment.began"]
    assert answer["cursor"] == (await events(web, reader))["cursor"]


async def test_who_waits_is_answered_as_soon_as_something_happens(web: Web, reader: dict[str, str]) -> None:
    cursor = (await events(web, reader))["cursor"]
    waiting = asyncio.create_task(events(web, reader, f"?after={cursor}&wait=30&types=reward.credited"))

    async def is_noted() -> bool:
        return bool(web.world.ledger.event_horizon.through) and not waiting.done()

    await eventually(is_noted)
    await web.world.end("ann", at("2026-10-04 12:00"))
    await web.world.pay("ann", D2 + timedelta(days=1))

    answer = await waiting

    (credited,) = answer["events"]
    assert CloudEvent.model_validate(credited).id == "reward.credited/ann/2026-10-03"


async def test_who_waits_in_vain_is_answered_with_the_cursor_that_stands(web: Web, reader: dict[str, str]) -> None:
    cursor = (await events(web, reader))["cursor"]
    assert await events(web, reader, f"?after={cursor}&wait=1") == {"events": [], "cursor": cursor}


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("after=x", 422, "query.after"),
        ("after=-1", 422, "query.after"),
        ("after=9999999999999999999", 422, "no cursor"),
        ("after=123456", 410, "there is no event 123456"),
        ("limit=0", 422, "query.limit"),
        ("limit=1001", 422, "query.limit"),
        ("wait=31", 422, "query.wait"),
        ("types=reward.credited,reward", 422, "'reward' is no type of an event"),
        ("since=1", 422, "there is no parameter 'since'"),
    ],
)
async def test_what_cannot_be_answered_is_refused(
    web: Web, reader: dict[str, str], query: str, status: int, says: str
) -> None:
    response: httpx.Response = await web.get(f"/v1/events?{query}", reader)
    assert (response.status_code, says in response.json()["detail"]) == (status, True), response.text


async def test_only_a_token_with_the_scope_reads_events(web: Web) -> None:
    for scope in Scope:
        response = await web.get("/v1/events", await make_token(web.world, scope))
        assert response.status_code == (200 if scope is Scope.EVENTS else 403)
    assert (await web.get("/v1/events")).status_code == 401


async def test_a_token_that_reads_on_is_a_reader_whose_events_are_kept(web: Web, reader: dict[str, str]) -> None:
    whole = await events(web, reader)
    first = whole["events"][0]["cursor"]
    for cursor in (first, whole["cursor"]):  # the second within the minute, in which nothing is recorded anew
        await events(web, reader, f"?after={cursor}")
    async with web.world.ledger.read() as connection:
        (known,) = await all_readers(connection)
    assert known.name.startswith("token ")
    assert known.read_through == int(first)
