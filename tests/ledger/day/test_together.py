"""Users whose days share a transaction: none is left out, and none is mistaken for another."""

import asyncio
from pathlib import Path

import pytest
from world import World, at, day, tamper

from ledger.errors import NotEnrolled
from staking.models import CreditReceipt, Snapshot

pytestmark = pytest.mark.on_both_databases

D1, D2 = day("2026-10-01"), day("2026-10-02")
USERS = ("ann", "ben", "cyd")


async def enrolled(world: World, *users: str) -> None:
    for user in users:
        await world.move(user, "12", "SOL", at("2026-09-30"))
        await world.enrol(user, at("2026-10-01 10:00"))


async def test_a_credit_of_a_user_who_is_not_recorded_fails_loudly_and_alone(world: World, tmp_path: Path) -> None:
    await enrolled(world, *USERS)
    for user in USERS:
        await world.snapshot(user, D1)
    rewards = [await world.compute(await world.snapshot(user, D2)) for user in USERS]
    tamper(tmp_path, "DELETE FROM users WHERE user_id = 'ben'")

    ann, ben, cyd = await asyncio.gather(
        *(world.credit(user, each) for user, each in zip(USERS, rewards, strict=True)), return_exceptions=True
    )

    assert isinstance(ben, AssertionError)
    assert "a day of user ben is recorded, and the user is not" in str(ben)
    assert [type(ann), type(cyd)] == [CreditReceipt, CreditReceipt]


async def test_a_day_is_closed_for_the_enrolment_that_was_asked_for_whatever_others_ask_for(world: World) -> None:
    """Ann's owed day is closed, while ben's request names the enrolment that ann has now."""
    await enrolled(world, "ann", "ben")
    await world.snapshot("ann", D1)
    await world.end("ann", at("2026-10-03 12:00"))
    await world.enrol("ann", at("2026-10-03 13:00"), enrolment_id="next")

    ann, ben = await asyncio.gather(
        world.snapshot("ann", D2), world.snapshot("ben", D2, enrolment_id="next"), return_exceptions=True
    )

    assert isinstance(ann, Snapshot)
    assert isinstance(ben, NotEnrolled)


async def test_a_day_is_refused_for_an_enrolment_that_is_not_there_whatever_others_ask_for(world: World) -> None:
    await enrolled(world, "ann", "ben")

    ann, ben = await asyncio.gather(
        world.snapshot("ann", D1, enrolment_id="another"),
        world.snapshot("ben", D1, enrolment_id="enrolment of ann"),
        return_exceptions=True,
    )

    assert [type(ann), type(ben)] == [NotEnrolled, NotEnrolled]
    assert await world.sql("SELECT day FROM days") == []
