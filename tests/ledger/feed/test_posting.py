"""Movements of a feed are posted one by one, in order, once, and none is lost."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import count

import pytest
from feeding import NOW, feed, sent, statuses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import World, at, day, units

from ledger.feed.reading import SentMovement
from ledger.feed.refused import all_refused
from ledger.movements import deposit

pytestmark = pytest.mark.on_both_databases


async def waiting(world: World) -> list[tuple[str, str, int]]:
    """The refused movements: id, code, and how often each was refused."""
    async with world.ledger.read() as connection:
        found = await all_refused(connection)
    return [(one.sent.movement_id, one.reason.code, one.times) for one in found]


async def test_movements_apply_in_their_order_and_a_later_one_uses_what_an_earlier_one_brought(
    world: World,
) -> None:
    outcomes = await feed(world, sent("-1"), sent("12"), sent("-3.5"), sent("1", "SUI", user="bob"))

    assert statuses(outcomes) == "insufficient_balance posted posted posted"
    assert await world.balances("ann") == {"SOL": units("8.5")}
    assert await world.balances("bob") == {"SUI": units("1")}
    assert (await world.audit(NOW)).is_clean


async def test_a_movement_counts_when_it_happened_but_in_no_closed_day_and_not_before_its_users_latest(
    world: World,
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 10:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))

    outcomes = await feed(
        world,
        sent("1", when="2026-10-01T23:59:59.999999999Z"),
        sent("1", when="2026-10-02T06:00:00.000001+02:00"),
        sent("1", when="2026-10-02T03:00:00Z"),
        sent("1", user="bob", when="2026-10-01T10:00:00Z"),
    )

    assert [outcome.counts_from for outcome in outcomes] == [
        at("2026-10-02"),
        at("2026-10-02 04:00:00.000001"),
        at("2026-10-02 04:00:00.000001"),
        at("2026-10-01 10:00"),
    ]
    assert (await world.audit(NOW)).is_clean


async def test_a_fault_of_one_movement_refuses_only_that_one_and_keeps_it(world: World) -> None:
    await world.move("ann", "5", "SOL", at("2026-10-01"), key="known")
    bad = {
        "user_malformed": sent("1", user="a b"),
        "asset_malformed": sent("1", "S O L"),
        "asset_misspelt": sent("1", "sol"),
        "amount_malformed": sent("0.000000001"),
        "amount_zero": sent("-0"),
        "instant_malformed": sent("1", when="2026-02-30T00:00:00Z"),
        "instant_without_zone": sent("1", when="2026-10-01T10:00:00"),
        "in_the_future": sent("1", when="2026-10-05T12:00:06Z"),
        "insufficient_balance": sent("-6.00000001"),
        "account_full": sent("90000000000"),
        "content_differs": sent("6", key="known"),
    }

    outcomes = await feed(world, sent("1"), *bad.values(), sent("2"))

    assert statuses(outcomes) == " ".join(["posted", *bad, "posted"])
    assert all(outcome.counts_from is None for outcome in outcomes[1:-1])
    assert await world.balances("ann") == {"SOL": units("8")}
    assert await waiting(world) == [(movement.movement_id, code, 1) for code, movement in bad.items()]
    async with world.ledger.read() as connection:
        assert [one.sent for one in await all_refused(connection)] == list(bad.values())


async def test_a_text_that_no_database_takes_as_it_is_is_kept_all_the_same(world: World) -> None:
    strange = sent("1\0", "\ud800", user="\0", when="\udfff", key="strange")

    assert statuses(await feed(world, strange)) == "user_malformed"

    async with world.ledger.read() as connection:
        assert [one.sent for one in await all_refused(connection)] == [strange]


async def test_a_repeat_answers_from_when_the_first_counts_and_changes_nothing(world: World) -> None:
    movements = [sent("12"), sent("-3", when="2026-10-02T06:00:00Z"), sent("1", "SUI", user="bob")]
    first = await feed(world, *movements)
    before = await world.everything()

    again = await feed(world, *movements, movements[0])

    assert statuses(again) == "repeated repeated repeated repeated"
    assert [outcome.counts_from for outcome in again[:3]] == [outcome.counts_from for outcome in first]
    assert await world.everything() == before


@pytest.mark.parametrize(
    "other",
    [
        sent("13", key="m"),
        sent("12", "SUI", key="m"),
        sent("12", user="bob", key="m"),
        sent("12", when="2026-10-01T10:00:00.000001Z", key="m"),
        sent("12", group="g", key="m"),
    ],
    ids=["amount", "asset", "user", "instant", "group"],
)
async def test_an_id_with_another_content_is_refused_and_both_contents_are_named(
    world: World, other: SentMovement
) -> None:
    await feed(world, sent("12", key="m"))

    (outcome,) = await feed(world, other)

    assert outcome.reason is not None
    assert outcome.reason.code == "content_differs"
    assert "a deposit of 12.00000000 SOL for user ann at 2026-10-01T10:00:00Z" in outcome.reason.sentence
    assert await world.balances("ann") == {"SOL": units("12")}


async def test_a_deposit_under_the_same_key_is_the_same_movement_on_every_way_in(world: World) -> None:
    occurred_at = at("2026-10-01 10:00")
    await deposit(world.ledger, "ann", "SOL", units("12"), idempotency_key="d", now=NOW, occurred_at=occurred_at)

    assert statuses(await feed(world, sent("12", key="d"))) == "repeated"


async def test_the_legs_of_a_group_happen_together_or_not_at_all(world: World) -> None:
    await feed(world, sent("10"))
    trade = [sent("-4", group="t"), sent("600", "USDT", group="t"), sent("4", user="bob", group="t")]
    too_much = [sent("1", "SUI", group="u"), sent("-7", group="u", key="too much"), sent("2", "S", group="u")]

    outcomes = await feed(world, *trade, *too_much)

    assert statuses(outcomes) == "posted posted posted group_refused insufficient_balance group_refused"
    assert outcomes[3].reason is not None
    assert "the leg too much of its group u is refused" in outcomes[3].reason.sentence
    assert await world.balances("ann") == {"SOL": units("6"), "USDT": units("600")}
    assert await world.balances("bob") == {"SOL": units("4")}
    assert statuses(await feed(world, *trade)) == "repeated repeated repeated"
    assert statuses(await feed(world, sent("1"), *too_much)) == "posted posted posted posted"
    assert (await world.audit(NOW)).is_clean


async def test_no_holding_is_ever_seen_between_two_legs_of_a_group(world: World) -> None:
    await feed(world, sent("10", "USDT", when="2026-10-01T08:00:00Z"))

    outcomes = await feed(
        world,
        sent("-100", "USDT", when="2026-10-01T09:00:00Z", group="g"),
        sent("95", "USDT", when="2026-10-01T11:00:00Z", group="g"),
    )

    assert [outcome.counts_from for outcome in outcomes] == [at("2026-10-01 11:00")] * 2
    assert (await world.audit(NOW)).is_clean


async def test_a_leg_that_its_recorded_group_does_not_have_is_refused(world: World) -> None:
    first = sent("1", group="g")
    await feed(world, first)

    assert statuses(await feed(world, first, sent("2", group="g"))) == "repeated group_recorded"


async def test_a_group_is_decided_at_the_position_of_its_last_leg(world: World) -> None:
    outcomes = await feed(world, sent("-1", group="g"), sent("1"), sent("5", "SUI", group="g"))

    assert statuses(outcomes) == "posted posted posted"


async def test_one_id_twice_in_a_request_is_one_movement(world: World) -> None:
    twice, leg = sent("2", key="twice"), sent("3", key="leg", group="g")

    outcomes = await feed(world, twice, twice, sent("4", key="twice"), leg, leg, sent("5", "SUI", group="g"))

    assert statuses(outcomes) == "posted repeated content_differs posted repeated posted"
    assert await world.balances("ann") == {"SOL": units("5"), "SUI": units("5")}


async def test_a_refused_movement_is_kept_once_and_taken_off_when_it_fits(world: World) -> None:
    late = sent("-3", key="late")
    for _ in range(2):
        await feed(world, late)
    await feed(world, sent("-4", key="late"))
    assert await waiting(world) == [("late", "insufficient_balance", 3)]

    assert statuses(await feed(world, late, sent("3"), late)) == "insufficient_balance posted posted"

    assert await waiting(world) == []


async def test_an_unknown_user_is_not_made_by_a_movement_that_takes_something(world: World) -> None:
    assert statuses(await feed(world, sent("-1", user="nobody"))) == "insufficient_balance"

    assert await world.sql("SELECT count(*) FROM users WHERE user_id = 'nobody'") == [(0,)]


async def test_equal_simultaneous_requests_post_every_movement_once(world: World, other: World) -> None:
    movements = [sent("2", user=f"user {number}".replace(" ", "-")) for number in range(20)]
    requests = [feed(place, *movements) for place in (world, other) for _ in range(4)]

    answers = await asyncio.gather(*requests)

    for outcomes in zip(*answers, strict=True):
        assert sorted(outcome.status for outcome in outcomes) == ["posted"] + ["repeated"] * 7
        assert len({outcome.counts_from for outcome in outcomes}) == 1
    assert (await world.audit(NOW)).is_clean


async def test_one_id_for_two_users_at_the_same_time_is_posted_for_one_of_them(world: World, other: World) -> None:
    for number in range(10):
        answers = await asyncio.gather(
            feed(world, sent("1", user="ann", key=f"one {number}")),
            feed(other, sent("1", user="bob", key=f"one {number}")),
        )
        assert sorted(statuses(outcomes) for outcomes in answers) == ["content_differs", "posted"]


async def test_simultaneous_requests_for_users_in_any_order_never_hold_each_other_up(
    world: World, other: World
) -> None:
    users = [f"user-{number:02}" for number in range(30)]

    async def from_both_ends(place: World, order: Sequence[str]) -> None:
        for _ in range(5):
            assert set(statuses(await feed(place, *(sent("1", user=user) for user in order))).split()) == {
                "posted"
            }

    await asyncio.gather(from_both_ends(world, users), from_both_ends(other, users[::-1]))

    assert {(await world.balances(user))["SOL"] for user in users} == {units("10")}


@st.composite
def _movements_that_fit(draw: st.DrawFn) -> list[list[SentMovement]]:
    """Movements that are decided together, in order: each movement alone, or the legs of a group. No balance falls
    below 0."""
    held: Counter[tuple[str, str]] = Counter()
    made: list[list[SentMovement]] = []
    for number in range(draw(st.integers(1, 10))):
        legs: list[SentMovement] = []
        leg_count = draw(st.integers(0, 2))
        for leg in range(max(leg_count, 1)):
            whose = draw(st.sampled_from(["ann", "bob"])), draw(st.sampled_from(["SOL", "SUI"]))
            amount = draw(st.integers(-held[whose], 5).filter(bool))
            held[whose] += amount
            instant = f"2026-10-0{draw(st.integers(1, 3))}T10:00:00Z"
            group = f"group {number}" if leg_count else None
            legs.append(SentMovement(f"{number}.{leg}", *whose, str(amount), instant, group))
        made.append(legs)
    return made


def _of_a_copy(movement: SentMovement, copy: str) -> SentMovement:
    return movement._replace(movement_id=f"{copy}/{movement.movement_id}", user=f"{movement.user}.{copy}")


async def _journal_of(world: World, copy: str) -> list[tuple[object, ...]]:
    entries = await world.sql(
        "SELECT idempotency_key, user_id, kind, effective_at, occurred_at, note FROM entries "
        "WHERE idempotency_key LIKE :keys ORDER BY entry_id",
        keys=f"{copy}/%",
    )
    return [
        (row.idempotency_key.removeprefix(f"{copy}/"), row.user_id.removesuffix(f".{copy}"), *row[2:])
        for row in entries
    ]


_copies = count(1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happenings=_movements_that_fit(), data=st.data())
async def test_any_split_into_requests_that_are_repeated_in_any_way_ends_in_the_same_ledger(
    world: World, happenings: list[list[SentMovement]], data: st.DataObject
) -> None:
    whole, split = f"whole-{next(_copies)}", f"split-{next(_copies)}"
    requests: list[list[SentMovement]] = [[]]
    for legs in happenings:
        if data.draw(st.booleans()):
            requests.append([])
        requests[-1].extend(legs)

    await feed(world, *(_of_a_copy(movement, whole) for legs in happenings for movement in legs))
    for number, _ in enumerate(requests, 1):
        for request in [
            requests[number - 1],
            *data.draw(st.lists(st.sampled_from(requests[:number]), max_size=2)),
        ]:
            await feed(world, *(_of_a_copy(movement, split) for movement in request))

    assert await _journal_of(world, split) == await _journal_of(world, whole)
    assert await waiting(world) == []
    for user in ("ann", "bob"):
        assert await world.balances(f"{user}.{split}") == await world.balances(f"{user}.{whole}")
