"""Movements that come late, while days wait for sources: each counts in the day in which it happened."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from feeding import feed, sent, statuses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polling import eventually
from world import World, a_world, at, day, paused_before, units, until_a_lock_is_waited_for

from ledger.errors import InsufficientBalance
from ledger.feed.reading import SentMovement
from ledger.feed.refused import all_refused
from ledger.feed.sources import remove_source, tell_complete
from ledger.reading.fleet import fleet_figures
from staking.days import ONE_DAY
from staking.models import Snapshot, SourceLate

pytestmark = pytest.mark.on_both_databases

FIRST = day("2026-10-01")
NOW = at("2026-10-05 12:00")
USERS = ("ann", "bob")


async def tell(world: World, name: str, through: datetime) -> None:
    await tell_complete(world.ledger, name, through, now=NOW)


async def waiting_for_the_wallet(world: World) -> None:
    """Ann holds 12 SOL since the morning of the first day, and moved 1 more after its end."""
    await world.move("ann", "12", "SOL", at("2026-10-01 10:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await tell(world, "exchange", at("2026-10-02 12:00"))
    await tell(world, "wallet", at("2026-10-01 23:00"))
    await feed(world, sent("1", when="2026-10-02T00:05:00Z"))


async def refused_ids(world: World) -> list[str]:
    async with world.ledger.read() as connection:
        return [one.sent.movement_id for one in await all_refused(connection)]


async def test_a_late_movement_counts_in_its_own_day_although_its_user_has_later_ones(world: World) -> None:
    await waiting_for_the_wallet(world)

    (outcome,) = await feed(world, sent("-2", when="2026-10-01T23:58:00Z"))

    assert outcome.counts_from == at("2026-10-01 23:58")
    await tell(world, "wallet", at("2026-10-02"))
    (holding,) = (await world.snapshot("ann", FIRST)).holdings
    assert holding.closing == units("10")
    assert await world.balances("ann") == {"SOL": units("11")}
    assert (await world.audit(NOW)).is_clean


async def test_without_sources_a_late_movement_counts_from_its_users_latest(world: World) -> None:
    await waiting_for_the_wallet(world)
    for name in ("exchange", "wallet"):
        await remove_source(world.ledger, name, operator="tests", reason="one feed is enough", now=NOW)

    (outcome,) = await feed(world, sent("-2", when="2026-10-01T23:58:00Z"))

    assert outcome.counts_from == at("2026-10-02 00:05")


async def test_a_late_movement_counts_in_no_closed_day(world: World) -> None:
    await waiting_for_the_wallet(world)
    await tell(world, "wallet", at("2026-10-02"))
    await world.snapshot("ann", FIRST)

    (outcome,) = await feed(world, sent("-2", when="2026-10-01T23:58:00Z"))

    assert outcome.counts_from == at("2026-10-02")
    assert (await world.audit(NOW)).is_clean


async def test_a_single_movement_counts_from_its_own_instant_as_one_of_a_feed_does(world: World) -> None:
    await waiting_for_the_wallet(world)

    await world.move("ann", "-12", "SOL", at("2026-10-01 23:58"))
    with pytest.raises(InsufficientBalance, match=r"was 0\.00000000 at the lowest since 2026-10-01T23:57:00Z"):
        await world.move("ann", "-1", "SOL", at("2026-10-01 23:57"))
    await world.move("ann", "3", "SUI", at("2026-10-01 23:57"))

    counting = await world.sql("SELECT effective_at FROM entries WHERE occurred_at IS NOT NULL")
    assert not counting
    assert await world.balances("ann") == {"SOL": units("1"), "SUI": units("3")}
    assert (await world.audit(NOW)).is_clean


async def test_what_leaves_less_than_nothing_at_any_instant_since_is_refused_and_the_rest_is_not(
    world: World,
) -> None:
    await waiting_for_the_wallet(world)
    await feed(world, sent("-10", when="2026-10-02T01:00:00Z"), sent("100", when="2026-10-02T02:00:00Z"))

    outcomes = await feed(
        world,
        sent("-3", when="2026-10-01T23:58:00Z"),
        sent("-3.00000001", when="2026-10-01T23:59:00Z"),
        sent("0.00000001", when="2026-10-02T00:30:00Z"),
        sent("-0.00000001", when="2026-10-01T23:59:00Z"),
        sent("-0.00000001", when="2026-10-01T23:59:30Z"),
    )

    assert statuses(outcomes) == "posted insufficient_balance posted posted insufficient_balance"
    assert outcomes[1].reason is not None
    assert outcomes[1].reason.sentence == (
        "user ann's SOL balance was 0.00000000 at the lowest since 2026-10-01T23:59:00Z, when this happened, "
        "which does not allow -3.00000001"
    )
    assert (await world.audit(NOW)).is_clean


async def test_a_late_deposit_that_would_overfill_an_account_at_any_instant_since_is_refused(world: World) -> None:
    await waiting_for_the_wallet(world)
    await feed(
        world,
        sent("89999999986", when="2026-10-02T01:00:00Z"),
        sent("-89999999986", when="2026-10-02T02:00:00Z"),
    )

    outcomes = await feed(
        world, sent("1", when="2026-10-01T23:58:00Z"), sent("0.00000001", when="2026-10-01T23:58:00Z")
    )

    assert statuses(outcomes) == "posted account_full"


async def test_a_late_trade_counts_from_its_own_instant_with_all_its_legs_or_is_refused_with_all(
    world: World,
) -> None:
    await waiting_for_the_wallet(world)
    trade = {"when": "2026-10-01T23:58:00Z", "group": "g"}
    dear = {"when": "2026-10-01T23:59:00Z", "group": "h"}

    outcomes = await feed(
        world,
        sent("-5", **trade),
        sent("7", "SUI", **trade),
        sent("-7.00000001", **dear),
        sent("1", "ADA", **dear),
    )

    assert statuses(outcomes) == "posted posted insufficient_balance group_refused"
    assert {outcome.counts_from for outcome in outcomes[:2]} == {at("2026-10-01 23:58")}
    assert (await world.audit(NOW)).is_clean


async def test_a_movement_in_order_costs_no_look_at_sources_or_at_what_was_held(world: World) -> None:
    await waiting_for_the_wallet(world)
    looks = [paused_before(world.ledger, "SELECT sources"), paused_before(world.ledger, "SELECT so_far")]
    for look in looks:
        look.resume.set()

    await feed(world, sent("1", when="2026-10-02T00:05:00Z"), sent("-2", when="2026-10-02T00:06:00Z"))
    assert not any(look.reached.is_set() for look in looks)

    await feed(world, sent("-2", when="2026-10-02T00:04:00Z"))
    assert all(look.reached.is_set() for look in looks)


async def test_what_another_source_covers_is_posted_by_its_word_and_before_a_day_can_close(tmp_path: Path) -> None:
    async with a_world(tmp_path, clock=lambda: NOW) as world:
        await waiting_for_the_wallet(world)
        uncovered = [
            sent("-2", "SUI", when="2026-10-01T23:30:00Z"),
            sent("-1", "SUI", when="2026-10-01T23:20:00Z", group="g"),
            sent("4", "ADA", when="2026-10-01T23:20:00Z", group="g"),
            sent("-1", "SUI", when="2026-10-01T22:59:59Z", key="before its last word"),
            sent("-1", "SUI", when="2026-10-02T00:00:00Z", key="after its word"),
        ]
        assert "posted" not in statuses(await feed(world, *uncovered))
        await feed(world, sent("5", "SUI", when="2026-10-01T23:10:00Z"))

        await tell(world, "wallet", at("2026-10-02"))

        closing = {one.asset: one.closing for one in (await world.snapshot("ann", FIRST)).holdings}
        assert closing == {"SOL": units("12"), "SUI": units("2"), "ADA": units("4")}
        assert await refused_ids(world) == ["before its last word", "after its word"]
        assert (await world.audit(NOW)).is_clean


async def test_what_waits_for_each_other_is_tried_again_until_nothing_more_can_be_posted(tmp_path: Path) -> None:
    async with a_world(tmp_path, clock=lambda: NOW) as world:
        await waiting_for_the_wallet(world)
        sells, buys = (
            {"group": "g", "when": "2026-10-01T23:40:00Z"},
            {"group": "h", "when": "2026-10-01T23:50:00Z"},
        )
        outcomes = await feed(
            world,
            sent("-2", "ADA", **buys),
            sent("1", "TON", **buys),
            sent("-1", "SUI", **sells),
            sent("2", "ADA", **sells),
            sent("1", "SUI", when="2026-10-01T23:30:00Z"),
            sent("-1", "TON", when="2026-10-01T23:55:00Z"),
        )
        assert statuses(outcomes[4:]) == "posted insufficient_balance"

        await tell(world, "wallet", at("2026-10-02"))

        assert not await refused_ids(world)
        assert await world.balances("ann") == {"SOL": units("13"), "SUI": 0, "ADA": 0, "TON": 0}


@dataclass(frozen=True)
class Story:
    """Movements of several sources as they happened, and the order in which their requests come."""

    happened: Sequence[SentMovement]
    requests: Sequence[tuple[str, Sequence[SentMovement]]]
    """Of a source; each source's movements come in the order in which they happened."""


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Two days of movements by two or three sources, in which no holding is ever below zero."""
    sources = ("wallet", "exchange", "card")[: draw(st.integers(2, 3))]
    moment = st.tuples(st.integers(0, 2 * 24 * 12), st.sampled_from(USERS), st.sampled_from(("SOL", "SUI")))
    drawn = draw(
        st.lists(st.tuples(moment, st.integers(-5, 5).filter(bool), st.sampled_from(sources)), max_size=30)
    )
    held: defaultdict[tuple[str, str], int] = defaultdict(int)
    happened: list[SentMovement] = []
    of_source: dict[str, list[SentMovement]] = {source: [] for source in sources}
    for number, ((minutes, user, asset), amount, source) in enumerate(sorted(drawn)):
        if held[user, asset] + amount < 0:
            continue
        held[user, asset] += amount
        when = at("2026-10-02") + timedelta(minutes=5 * minutes)
        movement = sent(str(amount), asset, user=user, when=when.isoformat(), key=f"{source} {number}")
        happened.append(movement)
        of_source[source].append(movement)
    requests: list[tuple[str, Sequence[SentMovement]]] = []
    while left := [source for source in sources if of_source[source]]:
        source = draw(st.sampled_from(left))
        size = draw(st.integers(1, 8))
        requests.append((source, of_source[source][:size]))
        del of_source[source][:size]
    return Story(happened, requests)


def average(happened: Sequence[SentMovement], user: str, asset: str) -> int:
    """Of the first of the two days, by the definition."""
    begins, ends = at("2026-10-02"), at("2026-10-03")
    total = 0
    for one in happened:
        instant = max(datetime.fromisoformat(one.at), begins)
        if (one.user, one.asset) == (user, asset) and instant < ends:
            total += units(one.amount) * ((ends - instant) // timedelta(microseconds=1))
    return int(total // (ONE_DAY // timedelta(microseconds=1)))


@settings(max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
def test_movements_of_several_sources_in_any_order_come_to_what_they_come_to_as_they_happened(
    story: Story,
) -> None:
    """Each source sends in order, as far behind the others as it likes; days close once all have told."""
    with TemporaryDirectory() as folder:
        asyncio.run(_check_story(Path(folder), story))


async def _check_story(folder: Path, story: Story) -> None:
    async with a_world(folder, clock=lambda: NOW) as world:
        before = [
            sent("3", asset, user=user, when="2026-10-01T10:00:00Z", key=f"{user} {asset}")
            for user in USERS
            for asset in ("SOL", "SUI")
        ]
        await feed(world, *before)
        for user in USERS:
            await world.enrol(user, at("2026-10-01 10:00"))
            await world.snapshot(user, FIRST)
        for source in {source for source, _ in story.requests} | {"wallet"}:
            await tell(world, source, at("2026-10-02"))
        for source, movements in story.requests:
            await feed(world, *movements)
            assert isinstance(await world.try_to_close("ann", FIRST + ONE_DAY), SourceLate)
            # A source's word is about what it has sent: everything before its latest movement.
            through = min(datetime.fromisoformat(movements[-1].at), at("2026-10-02 20:00"))
            await tell(world, source, through)
        for source in {source for source, _ in story.requests} | {"wallet"}:
            await tell(world, source, at("2026-10-05"))

        assert not await refused_ids(world)
        rows = await world.sql(
            "SELECT idempotency_key, effective_at, occurred_at FROM entries WHERE kind <> 'fund'"
        )
        for key, _, occurred_at in rows:
            assert occurred_at is None, f"{key} does not count from its own instant"
        for user in USERS:
            snapshot = await world.snapshot(user, FIRST + ONE_DAY)
            found = {one.asset: one.average for one in snapshot.holdings}
            for asset in ("SOL", "SUI"):
                assert found.get(asset, 0) == average([*before, *story.happened], user, asset)
            await world.credit(user, await world.compute(snapshot))
            await world.pay(user, FIRST + 2 * ONE_DAY)
        assert (await world.audit(NOW)).is_clean


async def test_a_late_movement_under_way_is_in_the_day_that_closes_at_the_same_moment(
    world: World, other: World, tmp_path: Path
) -> None:
    await waiting_for_the_wallet(world)
    pause = paused_before(world.ledger, "INSERT INTO entries")
    moving = asyncio.create_task(feed(world, sent("-2", when="2026-10-01T23:58:00Z")))
    await pause.reached.wait()

    async def closed() -> bool:
        return isinstance(await other.try_to_close("ann", FIRST), Snapshot)

    telling = asyncio.create_task(tell(other, "wallet", at("2026-10-02")))
    closing = asyncio.create_task(eventually(closed, "the day is closed"))
    await until_a_lock_is_waited_for(tmp_path)
    pause.resume.set()

    (outcome,) = await moving
    await telling
    await closing
    (holding,) = (await world.snapshot("ann", FIRST)).holdings

    assert outcome.counts_from == at("2026-10-01 23:58")
    assert holding.closing == units("10")
    assert (await world.audit(NOW)).is_clean


async def test_a_late_movement_that_meets_a_closing_counts_from_the_end_of_the_day(
    world: World, other: World, tmp_path: Path
) -> None:
    await waiting_for_the_wallet(world)
    await tell(world, "wallet", at("2026-10-02"))
    pause = paused_before(world.ledger, "INSERT INTO days")
    closing = asyncio.create_task(world.try_to_close("ann", FIRST))
    await pause.reached.wait()
    moving = asyncio.create_task(feed(other, sent("-2", when="2026-10-01T23:58:00Z")))
    await until_a_lock_is_waited_for(tmp_path)
    pause.resume.set()

    (outcome,) = await moving
    snapshot = await closing

    assert isinstance(snapshot, Snapshot)
    assert snapshot.holdings[0].closing == units("12")
    assert outcome.counts_from == at("2026-10-02")
    assert (await world.audit(NOW)).is_clean


async def test_many_late_movements_while_days_close_are_all_in_their_day_or_counted_from_its_end(
    world: World, other: World
) -> None:
    users = [f"user-{number}" for number in range(8)]
    for user in users:
        await world.move(user, "12", "SOL", at("2026-10-01 10:00"))
        await world.enrol(user, at("2026-10-01 10:00"))
    await tell(world, "wallet", at("2026-10-02"))
    await feed(world, *(sent("1", user=user, when="2026-10-02T00:05:00Z") for user in users))

    async def send(place: World, minute: int) -> None:
        await feed(place, *(sent("-1", user=user, when=f"2026-10-01T23:{minute}:00Z") for user in users))

    await asyncio.gather(
        *(send(place, minute) for minute in range(50, 55) for place in (world, other)),
        *(place.snapshot(user, FIRST) for user in users for place in (world, other)),
    )

    assert await refused_ids(world) == []
    for user in users:
        assert await world.balances(user) == {"SOL": units("3")}
    assert (await world.audit(NOW)).is_clean


async def test_those_that_a_report_may_have_tried_again_are_told_apart_from_those_that_need_an_operator(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path, clock=lambda: NOW) as world:
        await waiting_for_the_wallet(world)
        legs = {"group": "g", "when": "2026-10-01T23:40:00Z"}
        await feed(world, sent("-1", "SUI", **legs), sent("1", "ADA", **legs), sent("x"))

        found = await fleet_figures(world.ledger, NOW)
        assert (found.refused_movements, found.to_be_tried_again) == (3, 2)
        for name in ("exchange", "wallet"):
            await tell(world, name, NOW + timedelta(seconds=1))
        found = await fleet_figures(world.ledger, NOW)
        assert (found.refused_movements, found.to_be_tried_again) == (3, 0)
