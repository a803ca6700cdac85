"""What is told to systems outside: each thing once, in the transaction that does it, as a CloudEvent."""

import asyncio
import json
from pathlib import Path
from typing import Any, get_args

import databases
import jsonschema_rs
import pytest
from feeding import feed, sent
from world import ROOT, Crash, World, at, crash_before_statement, day, program_with

from contract.acts import Act
from contract.events import CloudEvent, EventKind
from contract.requests import ActRequest, EndRequest
from ledger.acts import hold
from ledger.corrections import reverse
from ledger.enrolments import end_enrolment
from ledger.events.delayed import tell_of_delayed_days
from ledger.events.reading import events_after
from ledger.programs import switch_assets

pytestmark = pytest.mark.on_both_databases

D1, D2 = day("2026-10-01"), day("2026-10-02")
SCHEMAS = {
    kind: jsonschema_rs.validator_for(json.loads((ROOT / "docs" / "events" / f"{kind}.json").read_text()))
    for kind in get_args(EventKind)
}


async def told(world: World, *kinds: EventKind, after: int = 0) -> list[dict[str, Any]]:
    """Every event since, each held to its JSON Schema."""
    page = await events_after(world.ledger, after, limit=1000, kinds=kinds)
    events = [json.loads(event.json) for event in page.events]
    for event in events:
        SCHEMAS[event["type"]].validate(event)
        CloudEvent.model_validate(event)
        assert event["data"].keys() == _members(event["type"])
    return events


def _members(kind: str) -> set[str]:
    return {
        *json.loads((ROOT / "docs" / "events" / f"{kind}.json").read_text())["properties"]["data"]["properties"]
    }


async def a_paid_day(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)


async def test_a_credit_is_told_with_its_lines_and_an_enrolment_with_its_first_reward(world: World) -> None:
    await a_paid_day(world)

    began, credited = await told(world, "enrolment.began", "reward.credited")

    assert began["data"] == {
        "enrolment_id": "enrolment of ann",
        "activated_at": "2026-10-01T10:00:00Z",
        "first_accrual_day": "2026-10-02",
        "first_reward_from": "2026-10-03T00:00:00Z",
        "first_reward_until": "2026-10-03T08:00:00Z",
        "region": "FR",
        "channel": "web",
        "back_dated": False,
    }
    ((entry_id,),) = await world.sql("SELECT entry_id FROM days WHERE day = 20728")
    assert credited == {
        "specversion": "1.0",
        "id": "reward.credited/ann/2026-10-02",
        "source": "/soft-staking",
        "type": "reward.credited",
        "subject": "ann",
        "time": "2026-10-03T00:01:00Z",
        "datacontenttype": "application/json",
        "cursor": credited["cursor"],
        "data": {
            "day": "2026-10-02",
            "credited_at": "2026-10-03T00:01:00Z",
            "late": False,
            "entry_id": entry_id,
            "lines": [{"asset": "SOL", "reward": "0.00026301", "outcome": "earned"}],
        },
    }


async def test_a_repeat_tells_nothing_again(world: World) -> None:
    await a_paid_day(world)
    before = await told(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.pay("ann", D2)
    await world.end("ann", at("2026-10-03 12:00"))
    await world.end("ann", at("2026-10-03 13:00"))
    assert [event["type"] for event in (await told(world))[len(before) :]] == ["enrolment.ended"]


async def test_a_day_without_any_reward_is_told_too(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.move("ann", "-12", "SOL", at("2026-10-01 11:00"))
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    (credited,) = await told(world, "reward.credited")
    assert (credited["data"]["entry_id"], credited["data"]["lines"]) == (None, [])


async def test_an_end_that_is_told_again_on_an_earlier_day_is_another_event(world: World) -> None:
    await a_paid_day(world)
    await world.end("ann", at("2026-10-05 12:00"), reason="asked to stop")
    await world.end("ann", at("2026-10-04 12:00"), reason="region_restricted:FR")
    first, second = await told(world, "enrolment.ended")
    assert (first["data"]["last_accrual_day"], second["data"]["last_accrual_day"]) == ("2026-10-04", "2026-10-03")
    assert first["id"] != second["id"]
    assert first["data"]["reason"] == "asked to stop"


async def test_an_operator_s_reason_is_not_told_but_what_the_user_is_told_is(world: World) -> None:
    await a_paid_day(world)
    request = EndRequest(
        user_id="ann",
        enrolment_id="enrolment of ann",
        ended_at=at("2026-10-05 12:00"),
        reason="case 4711",
        operator="olga",
        tell="You asked us to stop.",
    )
    await end_enrolment(world.ledger, request)
    (ended,) = await told(world, "enrolment.ended")
    assert (ended["data"]["reason"], ended["data"]["message"]) == ("ended by an operator", "You asked us to stop.")
    assert "4711" not in json.dumps(ended)


async def test_a_reversed_reward_is_told_and_another_reversal_is_not(world: World) -> None:
    await a_paid_day(world)
    deposit = await world.move("ann", "1", "BNB", at("2026-10-03 10:00"))
    (credited,) = await told(world, "reward.credited")
    for entry_id in (credited["data"]["entry_id"], deposit):
        for _ in range(2):
            await reverse(
                world.ledger, entry_id, reason="case 4711", operator="olga", now=at("2026-10-04"), tell="An error."
            )
    (reversed_,) = await told(world, "reward.reversed")
    assert reversed_["subject"] == "ann"
    assert reversed_["data"] == {
        "day": "2026-10-02",
        "entry_id": reversed_["data"]["entry_id"],
        "reversed_entry_id": credited["data"]["entry_id"],
        "lines": [{"asset": "SOL", "amount": "0.00026301"}],
        "message": "An error.",
    }


async def test_a_dry_run_of_a_reversal_tells_nothing(world: World) -> None:
    await a_paid_day(world)
    (credited,) = await told(world, "reward.credited")
    await reverse(
        world.ledger, credited["data"]["entry_id"], reason="r", operator="o", now=at("2026-10-04"), dry_run=True
    )
    assert await told(world, "reward.reversed") == []


async def test_a_refused_movement_is_told_once_and_again_for_a_new_reason(world: World) -> None:
    await world.move("ann", "1", "SOL", at("2026-10-01 09:00"))
    for _ in range(3):
        await feed(world, sent("-5", key="m-1"))
    await feed(world, sent("-5", key="m-1", when="soon"), sent("1", user="no such user\udce9", key="m-2"))

    first, second, third = await told(world, "movement.refused")

    assert (first["subject"], first["data"]["reason"]["code"]) == ("ann", "insufficient_balance")
    assert first["data"]["movement"] == {
        "id": "m-1",
        "user": "ann",
        "asset": "SOL",
        "amount": "-5",
        "at": "2026-10-01T10:00:00Z",
        "group": None,
    }
    assert second["data"]["reason"]["code"] == "instant_malformed"
    assert "subject" not in third
    assert third["data"]["movement"]["user"] == "no such user?"
    assert len({first["id"], second["id"], third["id"]}) == 3


async def test_every_version_of_the_program_is_told_also_a_pause(world: World) -> None:
    await world.apply(program_with("2026-10-05"), now=at("2026-10-01"))
    await world.apply(program_with("2026-10-05"), now=at("2026-10-01"))
    await switch_assets(
        world.ledger, ["SOL"], paused=True, operator="olga", reason="a check", now=at("2026-10-06 12:00")
    )
    events = await told(world, "program.applied")
    assert [(event["id"], event["data"]["effective_from"]) for event in events] == [
        ("program.applied/1", "2025-06-18"),
        ("program.applied/2", "2026-10-05"),
        ("program.applied/3", "2026-10-07"),
    ]
    assert [event["data"]["assets"]["SOL"]["paused"] for event in events] == [False, False, True]
    assert all("subject" not in event for event in events)


async def test_what_is_refused_or_undone_is_not_told(world: World) -> None:
    before = await told(world)
    await world.enrol("ann", at("2026-10-01 10:00"))  # holds nothing
    assert await told(world) == before


async def test_a_credit_whose_event_cannot_be_written_is_not_made(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    rewards = await world.compute(await world.snapshot("ann", D2))
    statements = 0
    while True:
        with crash_before_statement(world.ledger, statements):
            try:
                await world.credit("ann", rewards)
            except Crash:
                statements += 1
            else:
                break
        credited = await world.sql("SELECT day FROM days WHERE credited_at IS NOT NULL")
        assert (credited, await told(world, "reward.credited")) == ([], [])
    assert len(await told(world, "reward.credited")) == 1


async def test_a_day_past_its_deadline_is_told_once_per_user_and_day(world: World) -> None:
    for user in ("ann", "bob"):
        await world.move(user, "12", "SOL", at("2026-10-01 09:00"))
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.snapshot(user, D1)
    await world.pay("bob", D2)
    act = ActRequest(user_id="ann", act_id="1", act=Act(operator="o", reason="r"), now=at("2026-10-02"))
    await hold(world.ledger, act)

    looks = ("2026-10-03 08:00", "2026-10-03 08:01", "2026-10-03 08:02", "2026-10-04 09:00", "2026-10-04 09:01")
    found = [await tell_of_delayed_days(world.ledger, now=at(now)) for now in looks]

    assert found == [0, 1, 0, 2, 0]
    delayed = await told(world, "day.delayed")
    assert [(event["id"], event["data"]) for event in delayed] == [
        ("day.delayed/ann/2026-10-02", {"day": "2026-10-02", "due_until": "2026-10-03T08:00:00Z"}),
        ("day.delayed/ann/2026-10-03", {"day": "2026-10-03", "due_until": "2026-10-04T08:00:00Z"}),
        ("day.delayed/bob/2026-10-03", {"day": "2026-10-03", "due_until": "2026-10-04T08:00:00Z"}),
    ]


async def test_a_back_dated_day_is_not_told_as_delayed(world: World, tmp_path: Path) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    recorded = at("2026-10-10 12:00")
    databases.raw(tmp_path, f"UPDATE enrolments SET recorded_at = {int(recorded.timestamp()) * 1_000_000}")
    assert await tell_of_delayed_days(world.ledger, now=at("2026-10-11 07:00")) == 0
    assert await tell_of_delayed_days(world.ledger, now=at("2026-10-11 08:01")) == 1
    assert [event["data"]["day"] for event in await told(world, "day.delayed")] == ["2026-10-10"]


async def test_no_day_on_which_the_region_is_restricted_is_told_as_delayed(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    restricted = program_with("2026-10-04").model_copy(update={"restricted_regions": ["FR"]})
    await world.apply(restricted, now=at("2026-10-02"))
    assert await tell_of_delayed_days(world.ledger, now=at("2026-10-08 09:00")) == 2
    days = [event["data"]["day"] for event in await told(world, "day.delayed")]
    assert days == ["2026-10-02", "2026-10-03"]


async def test_many_who_look_at_once_tell_a_delayed_day_once(world: World, other: World) -> None:
    for number in range(7):
        await world.move(f"u{number}", "12", "SOL", at("2026-10-01 09:00"))
        await world.enrol(f"u{number}", at("2026-10-01 10:00"))
    ledgers = [world.ledger, other.ledger] * 3
    found = await asyncio.gather(*(tell_of_delayed_days(one, now=at("2026-10-03 09:00")) for one in ledgers))
    assert sum(found) == 7
    assert len(await told(world, "day.delayed")) == 7
