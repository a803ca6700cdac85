"""Old events are taken away, and nobody who still reads misses one."""

from datetime import datetime, timedelta

import pytest
from world import World, at, day

from ledger.errors import UnknownCursor
from ledger.events.delayed import tell_of_delayed_days
from ledger.events.pruning import Pruned, prune_events
from ledger.events.readers import LIVE_FOR, TOKEN, note_reader, unread_since
from ledger.events.reading import events_after
from ledger.service_tokens import Scope, add_token, revoke_token
from staking.days import ONE_DAY
from web.access.tokens import new_token

pytestmark = pytest.mark.on_both_databases

FIRST = day("2026-10-02")
OLD = timedelta(days=5)


async def ten_paid_days(world: World) -> list[int]:
    """Credits recorded a minute after 00:00 of 3 to 12 October; answers the cursors of all events."""
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", FIRST - ONE_DAY)
    for number in range(10):
        await world.pay("ann", FIRST + number * ONE_DAY)
    return await cursors(world)


async def cursors(world: World) -> list[int]:
    return [event.number for event in (await events_after(world.ledger, 0, limit=1000)).events]


async def prune(world: World, now: str = "2026-10-12 12:00") -> Pruned:
    return await prune_events(world.ledger, older_than=OLD, now=at(now))


async def test_what_is_older_than_the_setting_goes_and_its_newest_stays_so_that_a_cursor_is_known(
    world: World,
) -> None:
    told = await ten_paid_days(world)

    pruned = await prune(world)

    # Recorded after 7 October 12:00: the last five; and the newest of the old ones.
    assert (pruned.events, pruned.waits_for) == (len(told) - 6, [])
    assert await cursors(world) == told[-6:]
    page = await events_after(world.ledger, told[-6], limit=10)
    assert [event.number for event in page.events] == told[-5:]
    assert (await prune(world)).events == 0
    assert (await world.audit()).is_clean


async def test_a_cursor_that_was_pruned_or_never_was_is_refused_and_never_skips_silently(world: World) -> None:
    told = await ten_paid_days(world)
    await prune(world)
    for cursor in (told[0], told[-7], told[-1] + 1):
        with pytest.raises(UnknownCursor, match=f"there is no event {cursor}"):
            await events_after(world.ledger, cursor, limit=10)


async def test_numbers_are_not_given_again_after_everything_old_was_pruned(world: World) -> None:
    told = await ten_paid_days(world)
    await prune(world, "2027-10-12")
    assert await cursors(world) == told[-1:]
    await world.pay("ann", FIRST + 10 * ONE_DAY)
    after = await cursors(world)
    assert len(after) == 2
    assert after[-1] > told[-1]


async def test_what_a_live_reader_has_not_had_is_kept_until_the_reader_is_gone(world: World) -> None:
    told = await ten_paid_days(world)
    await note_reader(world.ledger, "token a", told[3], now=at("2026-10-12"))
    await note_reader(world.ledger, "token a", told[2], now=at("2026-10-12 01:00"))
    await note_reader(world.ledger, "token b", told[8], now=at("2026-10-12"))

    pruned = await prune(world)

    assert [(reader.name, reader.read_through) for reader in pruned.waits_for] == [("token a", told[3])]
    assert await cursors(world) == told[3:]
    gone: datetime = at("2026-10-12 01:00") + LIVE_FOR
    assert (await prune_events(world.ledger, older_than=OLD, now=gone)).waits_for == []
    assert await cursors(world) == told[-1:]


async def test_nobody_waits_for_a_reader_whose_token_is_revoked(world: World) -> None:
    told = await ten_paid_days(world)
    _, token = new_token("wallet", [Scope.EVENTS], now=at("2026-10-01"))
    await add_token(world.ledger, token, operator="olga")
    await note_reader(world.ledger, f"{TOKEN}{token.token_id}", told[2], now=at("2026-10-12"))
    assert len((await prune(world)).waits_for) == 1
    await revoke_token(world.ledger, token.token_id, operator="olga", now=at("2026-10-12"))
    assert (await prune(world)).waits_for == []


async def test_how_long_an_event_waits_for_its_slowest_live_reader_is_known(world: World) -> None:
    told = await ten_paid_days(world)
    now = at("2026-10-12 12:00")
    assert await unread_since(world.ledger, now=now) is None
    await note_reader(world.ledger, "token a", told[-1], now=now)
    assert await unread_since(world.ledger, now=now) is None
    await note_reader(world.ledger, "token b", told[-3], now=now)
    assert await unread_since(world.ledger, now=now) == at("2026-10-11 00:01")
    assert await unread_since(world.ledger, now=now + LIVE_FOR) is None


async def test_a_delay_is_not_told_again_after_it_was_pruned(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.end("ann", at("2026-10-03 10:00"))
    assert await tell_of_delayed_days(world.ledger, now=at("2026-10-03 09:00")) == 1
    await world.move("bob", "12", "SOL", at("2026-10-04 09:00"))
    await world.enrol("bob", at("2026-10-04 10:00"))
    await world.end("bob", at("2026-10-04 11:00"))
    await prune(world, "2027-01-01")
    assert await tell_of_delayed_days(world.ledger, now=at("2027-01-01 09:00")) == 0
    for each in (FIRST - ONE_DAY, FIRST):
        snapshot = await world.snapshot("ann", each)
    await world.credit("ann", await world.compute(snapshot), now=at("2027-01-02 10:00"))
    await prune(world, "2027-02-01")
    kinds = [event.kind for event in (await events_after(world.ledger, 0, limit=10)).events]
    assert kinds == ["reward.credited"]
