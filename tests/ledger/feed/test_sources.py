"""No day is closed for anyone before every source has sent everything that happened on it."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from world import World, at, day, paused_before, until_a_lock_is_waited_for

from ledger.acts import latest_acts
from ledger.errors import InTheFuture, UnknownSource
from ledger.feed.sources import (
    Source,
    all_sources,
    check_source_name,
    release_source,
    remove_source,
    tell_complete,
)
from staking.models import Snapshot, SourceLate

pytestmark = pytest.mark.on_both_databases

FIRST, SECOND = day("2026-10-01"), day("2026-10-02")
NOW = at("2026-10-05 12:00")


async def tell(world: World, name: str, through: str) -> Source:
    return await tell_complete(world.ledger, name, at(through), now=NOW)


async def enrolled(world: World, *users: str) -> None:
    for user in users:
        await world.move(user, "12", "SOL", at("2026-10-01 10:00"))
        await world.enrol(user, at("2026-10-01 10:00"))


async def is_closed(world: World, user: str) -> bool:
    return bool(await world.sql("SELECT 1 FROM days WHERE user_id = :user", user=user))


async def test_no_day_closes_for_anyone_before_every_source_is_complete_through_its_end(world: World) -> None:
    await enrolled(world, "ann", "bob")
    await tell(world, "wallet", "2026-10-01 23:59:59.999999")
    await tell(world, "exchange", "2026-10-01 12:00")

    late = SourceLate(day=FIRST, sources=["exchange", "wallet"])
    assert await world.try_to_close("ann", FIRST) == late
    assert await world.try_to_close("bob", FIRST) == late
    await tell(world, "wallet", "2026-10-02 00:00")
    assert await world.try_to_close("ann", FIRST) == SourceLate(day=FIRST, sources=["exchange"])
    assert not await is_closed(world, "ann")

    await tell(world, "exchange", "2026-10-02 06:00")

    assert isinstance(await world.try_to_close("ann", FIRST), Snapshot)
    assert isinstance(await world.try_to_close("bob", FIRST), Snapshot)
    assert (await world.audit(NOW)).is_clean


async def test_what_a_late_source_sends_counts_in_the_day_in_which_it_happened(world: World) -> None:
    await enrolled(world, "ann")
    await tell(world, "wallet", "2026-10-01 23:00")
    assert isinstance(await world.try_to_close("ann", FIRST), SourceLate)

    await world.move("ann", "-2", "SOL", at("2026-10-01 23:59:59"))
    await tell(world, "wallet", "2026-10-02 00:00")

    (holding,) = (await world.snapshot("ann", FIRST)).holdings
    assert holding.closing == 10_00000000


async def test_how_far_a_source_is_complete_only_rises_and_a_repeat_is_no_error(world: World) -> None:
    first = await tell(world, "wallet", "2026-10-02")

    assert await tell(world, "wallet", "2026-10-01") == first
    assert await tell(world, "wallet", "2026-10-02") == first
    with pytest.raises(Exception, match="only rises"):
        await world.sql("UPDATE sources SET complete_through = 0")
    async with world.ledger.read() as connection:
        assert await all_sources(connection) == [first]


async def test_no_source_is_complete_through_what_has_not_happened(world: World) -> None:
    with pytest.raises(InTheFuture):
        await tell(world, "wallet", "2026-10-05 12:00:06")

    await enrolled(world, "ann")
    assert isinstance(await world.try_to_close("ann", FIRST), Snapshot)


async def test_a_released_source_is_waited_for_again_after_the_days_that_were_over(world: World) -> None:
    await enrolled(world, "ann")
    await tell(world, "wallet", "2026-10-01 12:00")

    released = await release_source(
        world.ledger, "wallet", operator="ann", reason="its database is lost", now=at("2026-10-02 07:00")
    )

    assert released.released_through == at("2026-10-02")
    await world.snapshot("ann", FIRST)
    assert await world.try_to_close("ann", SECOND) == SourceLate(day=SECOND, sources=["wallet"])
    again = await release_source(
        world.ledger, "wallet", operator="ann", reason="too early", now=at("2026-10-01 07:00")
    )
    assert again.released_through == at("2026-10-02")
    async with world.ledger.read() as connection:
        acts = await latest_acts(connection, last=2)
    assert {(act.kind, act.reason) for act in acts} == {
        ("source_release", "its database is lost"),
        ("source_release", "too early"),
    }
    assert (await world.audit(NOW)).is_clean


async def test_a_removed_source_is_waited_for_no_longer_until_it_reports_again(world: World) -> None:
    await enrolled(world, "ann")
    await tell(world, "wallet", "2026-10-01 12:00")
    await remove_source(world.ledger, "wallet", operator="ann", reason="replaced", now=NOW)

    await world.snapshot("ann", FIRST)
    with pytest.raises(UnknownSource, match="sources list"):
        await remove_source(world.ledger, "wallet", operator="ann", reason="replaced", now=NOW)
    await tell(world, "wallet", "2026-10-02 12:00")
    assert isinstance(await world.try_to_close("ann", SECOND), SourceLate)
    assert (await world.audit(NOW)).is_clean


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 65, "é"])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a source"):
        check_source_name(name)


async def test_many_who_wait_cost_one_look_at_the_sources_and_a_report_in_this_process_counts_immediately(
    world: World,
) -> None:
    users = [f"user-{number}" for number in range(10)]
    await enrolled(world, *users)
    await tell(world, "wallet", "2026-10-01 12:00")
    assert isinstance(await world.try_to_close(users[0], FIRST), SourceLate)
    pause = paused_before(world.ledger, "SELECT users")

    answers = [await world.try_to_close(user, FIRST) for user in users]

    assert set(map(type, answers)) == {SourceLate}
    assert not pause.reached.is_set()
    pause.resume.set()
    await tell(world, "wallet", "2026-10-02")
    assert isinstance(await world.try_to_close(users[0], FIRST), Snapshot)


async def test_a_source_is_not_registered_while_a_day_is_being_closed_without_it(
    world: World, other: World, tmp_path: Path
) -> None:
    await enrolled(world, "ann")
    pause = paused_before(world.ledger, "INSERT INTO days")
    closing = asyncio.create_task(world.try_to_close("ann", FIRST))
    await pause.reached.wait()

    registering = asyncio.create_task(tell(other, "wallet", "2026-10-01 12:00"))
    await until_a_lock_is_waited_for(tmp_path)
    assert not registering.done()
    pause.resume.set()

    assert isinstance(await closing, Snapshot)
    await registering
    await enrolled(other, "bob")
    assert isinstance(await other.try_to_close("bob", FIRST), SourceLate)


async def test_a_closing_that_meets_a_registration_waits_for_it_and_then_for_the_source(
    world: World, other: World, tmp_path: Path
) -> None:
    await enrolled(world, "ann")
    pause = paused_before(other.ledger, "INSERT INTO sources")
    registering = asyncio.create_task(tell(other, "wallet", "2026-10-01 12:00"))
    await pause.reached.wait()

    closing = asyncio.create_task(world.try_to_close("ann", FIRST))
    await until_a_lock_is_waited_for(tmp_path)
    pause.resume.set()

    await registering
    assert await closing == SourceLate(day=FIRST, sources=["wallet"])
    assert not await is_closed(world, "ann")


async def test_simultaneous_reports_of_a_new_source_register_it_once_and_the_latest_instant_is_kept(
    world: World, other: World
) -> None:
    words = [tell(place, "wallet", f"2026-10-0{number}") for number in (1, 2, 3) for place in (world, other)]

    await asyncio.gather(*words)

    async with world.ledger.read() as connection:
        (source,) = await all_sources(connection)
    assert source.complete_through == at("2026-10-03")


async def test_a_source_is_late_from_the_end_of_the_first_day_that_waits_for_it_until_it_is_released(
    world: World,
) -> None:
    """How far it is behind is counted from the instant through which it is complete."""
    source = await tell(world, "wallet", "2026-10-01 20:00")
    seen = [at("2026-10-01 19:00"), at("2026-10-01 23:00"), at("2026-10-02"), at("2026-10-02 07:00")]
    hours = timedelta(hours=1)
    assert [source.behind(now) / hours for now in seen] == [0, 3, 4, 11]
    assert [source.late(now) / hours for now in seen] == [0, 0, 0, 7]

    released = await release_source(
        world.ledger, "wallet", operator="ann", reason="its database is lost", now=at("2026-10-02 07:00")
    )

    assert (released.behind(seen[-1]) / hours, released.late(seen[-1])) == (7, timedelta())
    complete = await tell(world, "wallet", "2026-10-02 00:00")
    assert complete.late(at("2026-10-02 23:59")) == timedelta()
