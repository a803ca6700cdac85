"""Holds and releases: who did what to a user and why is recorded once and never changed, and the last act
counts."""

import asyncio
from datetime import datetime

import pytest
from sqlalchemy.exc import IntegrityError
from world import World, activation, at, units

from contract.acts import Act, Hold
from contract.requests import ActRequest, EndRequest, EnrolRequest
from ledger.acts import held_users, hold, hold_of, latest_acts, record_act, release
from ledger.enrolments import end_enrolment, enrol
from ledger.entries import pool_entries
from ledger.pools import fund_pool

pytestmark = pytest.mark.on_both_databases

MORNING, NOON = at("2026-10-01 09:00"), at("2026-10-01 12:00")
A_CHECK = Act(operator="ann", reason="a check")


def request(user: str, act_id: str, *, act: Act = A_CHECK, now: datetime = MORNING) -> ActRequest:
    return ActRequest(user_id=user, act_id=act_id, act=act, now=now)


async def held(world: World, region: str | None = None) -> list[str]:
    async with world.ledger.read() as connection:
        return list(await held_users(connection, region))


async def acts(world: World, user: str | None = None, last: int = 100) -> list[tuple[str | None, str, str | None]]:
    """User, kind and reason of the acts on one user or on all users."""
    async with world.ledger.read() as connection:
        found = await latest_acts(connection, user, last=last)
    return [(act.user_id, act.kind, act.reason) for act in found if act.user_id is not None]


async def test_a_hold_has_operator_instant_and_reason_until_it_is_released(world: World) -> None:
    expected = Hold(held_at=MORNING, operator="ann", reason="a check")
    assert await hold(world.ledger, request("zoe", "1")) == expected
    async with world.ledger.read() as connection:
        assert await hold_of(connection, "zoe") == expected
    known = await world.recall("zoe")
    assert known.hold == expected

    released = request("zoe", "2", now=NOON).model_copy(update={"generation": known.generation})
    assert await release(world.ledger, released) == expected
    async with world.ledger.read() as connection:
        assert await hold_of(connection, "zoe") is None
    assert await acts(world) == [("zoe", "hold", "a check"), ("zoe", "release", "a check")]


async def test_a_user_who_is_held_already_keeps_the_first_hold(world: World) -> None:
    first = await hold(world.ledger, request("zoe", "1"))
    again = request("zoe", "2", act=Act(operator="ben", reason="another"), now=NOON)
    assert await hold(world.ledger, again) == first
    assert len(await acts(world)) == 1


async def test_an_act_repeated_after_its_commit_answers_the_same_and_records_nothing(world: World) -> None:
    held_first = [await hold(world.ledger, request("zoe", "1", now=now)) for now in (MORNING, NOON)]
    released = [await release(world.ledger, request("zoe", "2", now=now)) for now in (MORNING, NOON)]
    for _ in range(2):
        await record_act(world.ledger, "zoe", "retry", A_CHECK, act_id="3", now=MORNING)

    assert held_first[0] == held_first[1] == released[0] == released[1]
    assert [kind for _, kind, _ in await acts(world)] == ["hold", "release", "retry"]


async def test_a_hold_that_is_repeated_after_its_release_holds_nobody_again(world: World) -> None:
    first = await hold(world.ledger, request("zoe", "1"))
    await release(world.ledger, request("zoe", "2"))
    assert await hold(world.ledger, request("zoe", "1", now=NOON)) == first
    assert await held(world) == []


async def test_a_release_of_a_user_who_is_not_held_records_nothing(world: World) -> None:
    assert await release(world.ledger, request("zoe", "1")) is None
    assert await acts(world) == []


async def test_of_simultaneous_holds_one_is_recorded_and_is_the_answer_to_all(world: World) -> None:
    requests = [
        request("zoe", str(number), act=Act(operator=f"operator {number}", reason="at once"))
        for number in range(8)
    ]
    answers = await asyncio.gather(*(hold(world.ledger, each) for each in requests))
    assert len(set(answers)) == 1
    assert len(await acts(world)) == 1


async def test_of_a_simultaneous_hold_and_release_the_later_recorded_counts(world: World) -> None:
    await hold(world.ledger, request("zoe", "0"))
    for number in range(5):
        await asyncio.gather(
            release(world.ledger, request("zoe", f"release {number}")),
            hold(world.ledger, request("zoe", f"hold {number}")),
        )
        is_held = (await acts(world))[-1][1] == "hold"
        assert await held(world) == (["zoe"] if is_held else [])


async def test_the_held_users_are_those_whose_last_hold_was_not_released(world: World) -> None:
    for number, user in enumerate(("ann", "ben", "cleo")):
        await hold(world.ledger, request(user, f"hold {number}"))
    await release(world.ledger, request("ann", "release"))
    await release(world.ledger, request("cleo", "another release"))
    await hold(world.ledger, request("cleo", "another hold"))
    assert await held(world) == ["ben", "cleo"]


async def test_the_held_users_of_a_country_are_also_those_of_its_subdivisions(world: World) -> None:
    for user, region in (("ann", "UA-30"), ("ben", "FR"), ("cleo", "UA")):
        await world.move(user, "12", "SOL", at("2026-09-30"))
        await world.enrol(user, MORNING, region=region)
        await hold(world.ledger, request(user, f"hold {user}"))
    await hold(world.ledger, request("stranger", "hold"))
    assert await held(world, "UA") == ["ann", "cleo"]
    assert await held(world, "UA-30") == ["ann"]


@pytest.mark.parametrize("statement", ["UPDATE acts SET reason = 'none'", "DELETE FROM acts"])
async def test_an_act_is_never_changed_nor_deleted(world: World, statement: str) -> None:
    await hold(world.ledger, request("zoe", "1"))
    with pytest.raises(IntegrityError):
        await world.sql(statement)
    assert await acts(world) == [("zoe", "hold", "a check")]


async def test_an_end_by_an_operator_is_recorded_with_it_and_a_users_own_is_no_act(world: World) -> None:
    for user, operator in (("zoe", "ann"), ("yan", None)):
        await world.move(user, "12", "SOL", at("2026-09-30"))
        await world.enrol(user, MORNING)
        end = EndRequest(
            user_id=user, enrolment_id=f"enrolment of {user}", ended_at=NOON, reason="moved", operator=operator
        )
        assert await end_enrolment(world.ledger, end) == await end_enrolment(world.ledger, end)
    assert await acts(world) == [("zoe", "deactivate", "moved")]


async def test_the_latest_acts_of_one_user_or_of_all_are_listed_the_newest_last(world: World) -> None:
    for number, user in enumerate(("ann", "ben", "ann")):
        await record_act(
            world.ledger, user, "retry", Act(operator="ann", reason=str(number)), act_id=str(number), now=NOON
        )
    assert await acts(world, last=2) == [("ben", "retry", "1"), ("ann", "retry", "2")]
    assert await acts(world, "ann") == [("ann", "retry", "0"), ("ann", "retry", "2")]
    assert await acts(world, "nobody") == []


async def test_a_funding_and_its_repeat_are_one_act_under_the_first_name(world: World) -> None:
    async with world.ledger.read() as connection:
        before = await latest_acts(connection, last=None)
    for operator in ("ann", "ben"):
        await fund_pool(
            world.ledger, "SOL", units("5"), operator=operator, reason="why", now=NOON, idempotency_key="funding"
        )
    async with world.ledger.read() as connection:
        found = await latest_acts(connection, last=None)
        funded = (await pool_entries(connection, "SOL", last=1)).entries
    assert found[:-1] == before
    assert (found[-1].kind, found[-1].operator, found[-1].reason, found[-1].user_id) == (
        "fund",
        "ann",
        "why",
        None,
    )
    assert found[-1].subject == f"pool SOL, entry {funded[0].entry_id}"
    assert (funded[0].operator, funded[0].reason) == ("ann", "why")


async def test_a_back_dated_activation_is_an_act_and_a_users_own_is_none(world: World) -> None:
    before = len(await acts(world))
    for user, back_to in (("zoe", at("2026-10-01 08:00")), ("yan", None)):
        await world.move(user, "12", "SOL", at("2026-09-30"))
        request = EnrolRequest(
            user_id=user,
            enrolment_id=f"enrolment of {user}",
            activation=activation(back_dated_to=back_to),
            activated_at=back_to or NOON,
            now=NOON,
        )
        for _ in range(2):
            await enrol(world.ledger, request)
    assert (await acts(world))[before:] == [("zoe", "activate", "was enrolled elsewhere")]


async def test_the_text_for_the_user_is_kept_with_an_end_and_answered_again(world: World) -> None:
    await world.move("zoe", "12", "SOL", at("2026-09-30"))
    await world.enrol("zoe", MORNING)
    end = EndRequest(
        user_id="zoe",
        enrolment_id="enrolment of zoe",
        ended_at=NOON,
        reason="case 4711",
        operator="ann",
        tell="The offer ended.",
    )
    first = await end_enrolment(world.ledger, end)
    again = await end_enrolment(world.ledger, end.model_copy(update={"tell": "Something else."}))
    assert (first.operator, first.reason, first.tell) == ("ann", "case 4711", "The offer ended.")
    assert again == first


@pytest.mark.parametrize("words", [{"operator": ""}, {"operator": "x", "reason": "\0"}, {"operator": "x" * 501}])
async def test_words_that_are_no_text_fund_nothing(world: World, words: dict[str, str]) -> None:
    before = await world.everything()
    with pytest.raises(ValueError, match=r"the (operator|reason) has"):
        await fund_pool(world.ledger, "SOL", 1, **words, now=NOON)
    assert await world.everything() == before
