"""An operator tries refused movements again, or dismisses them."""

import pytest
from feeding import NOW, feed, sent, statuses
from world import World, at, units

from ledger.acts import latest_acts
from ledger.errors import UnknownMovement
from ledger.feed.deciding import MovementOutcome
from ledger.feed.refused import all_refused, dismiss_refused
from ledger.feed.retrying import retry_refused

pytestmark = pytest.mark.on_both_databases


async def retried(world: World, *ids: str) -> list[MovementOutcome]:
    parts = retry_refused(world.ledger, ids or None, now=NOW)
    return [outcome async for part in parts for outcome in part]


async def ids(world: World, last: int | None = None) -> list[str]:
    async with world.ledger.read() as connection:
        return [one.sent.movement_id for one in await all_refused(connection, last=last)]


async def test_what_fits_by_now_is_posted_in_the_order_in_which_it_came(world: World) -> None:
    await feed(world, sent("-3", key="a"), sent("-4", key="b"), sent("-2", key="c", user="bob"))
    await world.move("ann", "5", "SOL", NOW)
    assert await ids(world) == ["a", "b", "c"]
    assert await ids(world, last=2) == ["b", "c"]

    assert statuses(await retried(world)) == "posted insufficient_balance insufficient_balance"

    assert await ids(world) == ["b", "c"]
    assert await world.balances("ann") == {"SOL": units("2")}


async def test_a_leg_is_tried_again_with_its_whole_group(world: World) -> None:
    await feed(world, sent("-3", key="a", group="g"), sent("450", "USDT", key="b", group="g"), sent("-9", key="c"))
    await world.move("ann", "5", "SOL", NOW)

    assert statuses(await retried(world, "b")) == "posted posted"

    assert await ids(world) == ["c"]


async def test_what_was_posted_on_another_way_meanwhile_is_taken_off(world: World) -> None:
    await feed(world, sent("-3", key="a", when="2026-10-03T10:00:00Z"))
    await world.move("ann", "5", "SOL", at("2026-10-01"))
    await world.move("ann", "-3", "SOL", at("2026-10-03 10:00"), key="a")

    assert statuses(await retried(world, "a")) == "repeated"

    assert await ids(world) == []


async def test_an_id_that_is_not_among_them_is_named_and_nothing_is_tried(world: World) -> None:
    await feed(world, sent("-3", key="a"))
    await world.move("ann", "5", "SOL", NOW)

    with pytest.raises(UnknownMovement, match="not among the refused movements: x, y"):
        await retried(world, "a", "y", "x")

    assert await ids(world) == ["a"]


async def test_a_dismissed_movement_is_gone_and_its_act_keeps_it(world: World) -> None:
    await feed(world, sent("-3", key="a"), sent("-4", key="b"))

    (gone,) = await dismiss_refused(world.ledger, ["a"], operator="ann", reason="a test system's", now=NOW)

    assert (gone.sent.amount, await ids(world)) == ("-3", ["b"])
    with pytest.raises(UnknownMovement):
        await dismiss_refused(world.ledger, ["a", "b"], operator="ann", reason="again", now=NOW)
    assert await ids(world) == ["b"]
    async with world.ledger.read() as connection:
        act = (await latest_acts(connection, last=1))[0]
    assert (act.kind, act.operator, act.reason) == ("movement_dismiss", "ann", "a test system's")
    assert act.subject is not None
    assert '"amount": "-3"' in act.subject
    audit = await world.audit(NOW)
    assert (audit.is_clean, audit.refused_movements) == (True, 1)
