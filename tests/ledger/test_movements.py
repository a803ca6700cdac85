"""Live movements are posted whole, in order and within the range, and soft staking never delays them (rule 9, I2,
I4)."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import databases
import pytest
from world import LONG_AGO, World, at, day, units

from ledger import movements
from ledger.corrections import reverse
from ledger.database.engine import Ledger, open_ledger
from ledger.entries import Recorded
from ledger.errors import AccountFull, ContentDiffers, InsufficientBalance, InTheFuture
from ledger.movements import CLOCKS_DIFFER_BY_MAX, deposit, post_movement, withdraw
from ledger.pools import fund_pool
from staking.models import PoolShort
from staking.money import MAX_ACCOUNT_UNITS

pytestmark = pytest.mark.on_both_databases

NOON = at("2026-10-01 12:00")


async def posted_trade(world: World, changes: Mapping[str, int], *, key: str = "trade") -> int:
    return await post_movement(
        world.ledger, "ann", changes, kind="trade", idempotency_key=key, occurred_at=at("2026-10-01 10:00")
    )


async def counts_at(world: World, entry_id: int) -> tuple[int, int | None]:
    ((effective_at, occurred_at),) = await world.sql(
        "SELECT effective_at, occurred_at FROM entries WHERE entry_id = :entry_id", entry_id=entry_id
    )
    return effective_at, occurred_at


def micros(text: str) -> int:
    return int((at(text) - at("1970-01-01")).total_seconds()) * 1_000_000


async def test_a_trade_moves_both_legs_or_none(world: World) -> None:
    await world.move("ann", "10", "SOL", at("2026-10-01"))
    await posted_trade(world, {"SOL": units("-4"), "SUI": units("160")})
    assert await world.balances("ann") == {"SOL": units("6"), "SUI": units("160")}
    before = await world.everything()

    with pytest.raises(InsufficientBalance, match=r"SOL balance is 6\.00000000, which does not allow -7"):
        await posted_trade(world, {"SUI": units("280"), "SOL": units("-7")}, key="too much")

    assert await world.everything() == before


@pytest.mark.parametrize(
    ("first", "then", "refused"),
    [
        ("1E-8", "-1E-8", None),
        ("1E-8", "-2E-8", InsufficientBalance),
        ("90000000000", "-90000000000", None),
        ("90000000000", "1E-8", AccountFull),
        ("89999999999.99999999", "1E-8", None),
        ("1E-8", "90000000000", AccountFull),
    ],
)
async def test_an_account_holds_from_nothing_to_exactly_90_billion(
    world: World, first: str, then: str, refused: type[Exception] | None
) -> None:
    await world.move("ann", first, "SOL", at("2026-10-01"))
    if refused is None:
        await world.move("ann", then, "SOL", at("2026-10-02"))
        assert (await world.balances("ann"))["SOL"] == units(first) + units(then)
    else:
        with pytest.raises(refused, match="user ann's SOL balance is"):
            await world.move("ann", then, "SOL", at("2026-10-02"))
        assert (await world.balances("ann"))["SOL"] == units(first)
    assert (await world.audit()).is_clean


async def test_what_an_account_holds_stays_an_integer_at_the_top_of_the_range(world: World) -> None:
    await world.move("ann", "89999999999.99999999", "SOL", at("2026-10-01"))
    await world.move("ann", "1E-8", "SOL", at("2026-10-01"))
    ((balance,),) = await world.sql("SELECT balance FROM accounts WHERE user_id = 'ann'")
    assert (type(balance), balance) == (int, MAX_ACCOUNT_UNITS)


async def test_a_movement_is_never_older_than_the_user_s_latest(world: World) -> None:
    await world.move("ann", "10", "SOL", at("2026-10-01 12:00"))
    late = await world.move("ann", "5", "SUI", at("2026-10-01 11:00"))
    assert await counts_at(world, late) == (micros("2026-10-01 12:00"), micros("2026-10-01 11:00"))


async def test_an_instant_that_counts_as_it_occurred_is_not_written_twice(world: World) -> None:
    entry_id = await world.move("ann", "10", "SOL", at("2026-10-01 12:00"))
    assert await counts_at(world, entry_id) == (micros("2026-10-01 12:00"), None)


async def test_a_withdrawal_stamped_before_the_deposit_it_spends_counts_after_it(world: World) -> None:
    await world.move("ann", "10", "SOL", at("2026-10-01 12:00"))
    await world.move("ann", "-10", "SOL", at("2026-10-01 11:00"))
    assert (await world.audit()).is_clean


async def test_one_user_s_late_movement_delays_nobody_else_s(world: World) -> None:
    await world.move("ann", "10", "SOL", at("2026-10-05"))
    entry_id = await world.move("bob", "10", "SOL", at("2026-10-01"))
    assert await counts_at(world, entry_id) == (micros("2026-10-01"), None)


async def test_a_movement_into_a_closed_day_counts_from_the_boundary(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    entry_id = await world.move("ann", "-12", "SOL", at("2026-10-01 23:59"))
    assert await counts_at(world, entry_id) == (micros("2026-10-02"), micros("2026-10-01 23:59"))


async def test_an_enrolled_user_may_withdraw_everything_at_any_time(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.move("ann", "-12", "SOL", at("2026-10-01 10:00"))
    assert await world.balances("ann") == {"SOL": 0}


@pytest.mark.parametrize("changes", [{}, {"SOL": 0}])
async def test_a_movement_that_moves_nothing_is_a_mistake(world: World, changes: dict[str, int]) -> None:
    before = await world.everything()
    with pytest.raises(ValueError, match="it has no postings"):
        await posted_trade(world, changes)
    assert await world.everything() == before


async def test_a_leg_of_nothing_leaves_no_posting(world: World) -> None:
    entry_id = await posted_trade(world, {"SOL": 5, "SUI": 0})
    assert await world.sql("SELECT count(*) FROM postings WHERE entry_id = :id", id=entry_id) == [(2,)]


async def test_the_recording_clock_says_when_it_was_written(world: World) -> None:
    entry_id = await world.move("ann", "1", "SOL", at("2026-10-01"))
    ((recorded_at,),) = await world.sql("SELECT recorded_at FROM entries WHERE entry_id = :id", id=entry_id)
    assert recorded_at == int(LONG_AGO.timestamp()) * 1_000_000


@pytest.fixture
async def ledgers(world: World, tmp_path: Path) -> AsyncGenerator[list[Ledger]]:
    """The world's ledger, opened four times as four processes would."""
    async with AsyncExitStack() as stack:
        url = databases.url_in(tmp_path)
        yield [await stack.enter_async_context(open_ledger(url, clock=lambda: LONG_AGO)) for _ in range(4)]


async def deposited(ledger: Ledger, tokens: str = "12", user: str = "ann", *, key: str = "deposit 1") -> Recorded:
    return await deposit(ledger, user, "SOL", units(tokens), idempotency_key=key, now=NOON)


async def withdrawn(ledger: Ledger, tokens: str, *, key: str = "withdrawal 1", now: datetime = NOON) -> Recorded:
    return await withdraw(ledger, "ann", "SOL", units(tokens), idempotency_key=key, now=now)


async def traded(ledger: Ledger, sold: str, bought: str, *, key: str = "trade 1") -> Recorded:
    return await movements.trade(
        ledger, "ann", "SOL", units(sold), "SUI", units(bought), idempotency_key=key, now=NOON
    )


async def test_a_movement_answers_its_entry_when_it_counts_and_what_is_held_now(world: World) -> None:
    await deposited(world.ledger)
    await withdrawn(world.ledger, "2")

    answer = await traded(world.ledger, "4", "160")

    assert (answer.entry.kind, answer.entry.user_id, answer.recorded_already) == ("trade", "ann", False)
    assert answer.entry.changes == {"SOL": units("-4"), "SUI": units("160")}
    assert (answer.entry.effective_at, answer.entry.occurred_at) == (NOON, None)
    assert answer.balances == {"SOL": units("6"), "SUI": units("160")}
    assert (await world.audit()).is_clean


@pytest.mark.parametrize(
    "request_", [lambda ledger: withdrawn(ledger, "12.00000001"), lambda ledger: traded(ledger, "13", "1")]
)
async def test_a_movement_that_the_balance_does_not_allow_is_refused_whole_and_uses_no_key(
    world: World, request_: Callable[[Ledger], Awaitable[Recorded]]
) -> None:
    await deposited(world.ledger)
    before = await world.everything()

    with pytest.raises(
        InsufficientBalance, match=r"user ann's SOL balance is 12\.00000000, which does not allow -1"
    ):
        await request_(world.ledger)
    assert await world.everything() == before

    await deposited(world.ledger, "1", key="deposit 2")
    assert (await request_(world.ledger)).recorded_already is False


async def test_a_repeat_answers_the_first_entry_and_what_is_held_now(world: World) -> None:
    first = await deposited(world.ledger)
    await withdrawn(world.ledger, "3")
    before = await world.everything()

    again = await deposit(
        world.ledger, "ann", "SOL", units("12"), idempotency_key="deposit 1", now=NOON + timedelta(days=3)
    )

    assert (again.entry, again.recorded_already) == (first.entry, True)
    assert again.balances == {"SOL": units("9")}
    assert await world.everything() == before


@pytest.mark.parametrize(
    ("other", "now_asked"),
    [
        (lambda ledger: deposited(ledger, "13"), "a deposit of 13.00000000 SOL for user ann"),
        (lambda ledger: deposited(ledger, user="bob"), "for user bob"),
        (lambda ledger: withdrawn(ledger, "12", key="deposit 1"), "a withdrawal of -12.00000000 SOL"),
        (lambda ledger: traded(ledger, "12", "1", key="deposit 1"), "a trade of -12.00000000 SOL, 1.00000000 SUI"),
        (
            lambda ledger: fund_pool(
                ledger, "SOL", units("12"), operator="tests", now=NOON, idempotency_key="deposit 1"
            ),
            "for the reward pool",
        ),
        (
            lambda ledger: deposit(
                ledger,
                "ann",
                "SOL",
                units("12"),
                idempotency_key="deposit 1",
                now=NOON,
                occurred_at=at("2026-10-01 11:00"),
            ),
            "at 2026-10-01T11:00:00+00:00",
        ),
    ],
)
async def test_a_repeat_with_other_content_is_refused_naming_both(
    world: World, other: Callable[[Ledger], Awaitable[Any]], now_asked: str
) -> None:
    await deposited(world.ledger)
    before = await world.everything()
    with pytest.raises(ContentDiffers) as refused:
        await other(world.ledger)
    said_first, _, said_now = str(refused.value).partition("and is now asked as")
    assert "a deposit of 12.00000000 SOL for user ann" in said_first
    assert now_asked in said_now
    assert await world.everything() == before


async def test_a_movement_of_the_past_counts_from_then(world: World) -> None:
    then = at("2026-09-01 08:00")
    answer = await deposit(
        world.ledger, "ann", "SOL", 5, idempotency_key="late", now=NOON, occurred_at=then.astimezone()
    )
    assert (answer.entry.effective_at, answer.entry.occurred_at) == (then, None)


async def test_a_movement_of_a_closed_day_says_from_when_it_counts_instead(world: World) -> None:
    await a_day_closed(world)
    then, now = at("2026-10-02 08:00"), at("2026-10-03 09:00")
    answer = await withdraw(
        world.ledger, "ann", "SOL", units("12"), idempotency_key="late", now=now, occurred_at=then
    )
    assert (answer.entry.effective_at, answer.entry.occurred_at) == (at("2026-10-03"), then)


async def test_a_movement_is_not_posted_before_it_occurs(world: World) -> None:
    before = await world.everything()

    async def ahead_by(seconds: float, key: str) -> Recorded:
        instant = NOON + CLOCKS_DIFFER_BY_MAX + timedelta(seconds=seconds)
        return await deposit(world.ledger, "ann", "SOL", 5, idempotency_key=key, now=NOON, occurred_at=instant)

    with pytest.raises(InTheFuture, match=r"2026-10-01T12:00:05\.001000\+00:00 is in the future"):
        await ahead_by(0.001, "too early")
    assert await world.everything() == before
    assert await ahead_by(0, "by a clock that is ahead")


@pytest.mark.parametrize(
    ("asset", "amount", "key", "sentence"),
    [
        ("SOL", 0, "key", "above 0 and at most 90 billion"),
        ("SOL", -1, "key", "above 0 and at most 90 billion"),
        ("SOL", MAX_ACCOUNT_UNITS + 1, "key", "above 0 and at most 90 billion"),
        ("S L", 1, "key", "1 to 32 printable characters without blanks"),
        ("A" * 33, 1, "key", "1 to 32 printable characters without blanks"),
        ("", 1, "key", "1 to 32 printable characters without blanks"),
        ("SOL", 1, "", "a key has 1 to 200 characters"),
        ("SOL", 1, "k" * 201, "a key has 1 to 200 characters"),
        ("SOL", 1, "a\tb", "printable"),
        ("SOL", 1, "a\0b", "printable"),
    ],
)
async def test_a_malformed_movement_is_refused_in_a_sentence(
    world: World, asset: str, amount: int, key: str, sentence: str
) -> None:
    before = await world.everything()
    for request in (deposit, withdraw):
        with pytest.raises(ValueError, match=sentence):
            await request(world.ledger, "ann", asset, amount, idempotency_key=key, now=NOON)
    assert await world.everything() == before


async def test_an_amount_is_never_a_float(world: World) -> None:
    with pytest.raises(TypeError, match="float"):
        await deposit(world.ledger, "ann", "SOL", 1.5, idempotency_key="key", now=NOON)  # type: ignore[arg-type]


async def test_a_trade_of_an_asset_for_itself_is_a_mistake(world: World) -> None:
    with pytest.raises(ValueError, match="not SOL for itself"):
        await movements.trade(world.ledger, "ann", "SOL", 1, "SOL", 2, idempotency_key="key", now=NOON)


async def never_enrolled(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))


async def enrolled(world: World) -> None:
    await never_enrolled(world)
    await world.enrol("ann", at("2026-10-01 10:00"))


async def a_day_closed(world: World) -> None:
    """Closes days without crediting them."""
    await enrolled(world)
    await world.snapshot("ann", day("2026-10-01"))
    await world.snapshot("ann", day("2026-10-02"))


async def the_pool_is_empty(world: World) -> None:
    await a_day_closed(world)
    ((funding,),) = await world.sql(
        "SELECT p.entry_id FROM postings p JOIN accounts a ON a.account_id = p.account_id"
        " WHERE a.kind = 'pool' AND a.asset = 'SOL'"
    )
    await reverse(world.ledger, funding, reason="the pool runs dry", operator="tests", now=LONG_AGO)
    rewards = await world.compute(await world.snapshot("ann", day("2026-10-02")))
    assert isinstance(await world.credit("ann", rewards), PoolShort)


async def ended_with_a_day_owed(world: World) -> None:
    await a_day_closed(world)
    await world.end("ann", at("2026-10-03 08:00"))


@pytest.mark.parametrize(
    "situation", [never_enrolled, enrolled, a_day_closed, the_pool_is_empty, ended_with_a_day_owed]
)
async def test_everything_can_be_withdrawn_at_any_time_and_owed_days_are_paid_all_the_same(
    world: World, situation: Callable[[World], Awaitable[None]]
) -> None:
    await situation(world)
    now = at("2026-10-09 09:00")  # A week is owed meanwhile.

    answer = await withdrawn(world.ledger, "12", now=now)

    assert (answer.entry.effective_at, answer.balances) == (now, {"SOL": 0})
    if situation is not never_enrolled:
        await world.fund("SOL")
        await world.snapshot("ann", day("2026-10-01"))
        assert (await world.compute(await world.snapshot("ann", day("2026-10-02")))).lines[0].average == units(
            "12"
        )
        await world.pay("ann", day("2026-10-02"))
        assert (await world.balances("ann"))["SOL"] == units("0.00026301")
    assert (await world.audit()).is_clean


async def test_one_key_posted_by_many_at_the_same_time_is_one_entry_and_one_answer(
    world: World, ledgers: list[Ledger]
) -> None:
    answers = await asyncio.gather(*(deposited(ledger) for ledger in ledgers * 4))

    assert {answer.entry.entry_id for answer in answers} == {answers[0].entry.entry_id}
    assert all((answer.entry, answer.balances) == (answers[0].entry, {"SOL": units("12")}) for answer in answers)
    assert [answer.recorded_already for answer in answers].count(False) == 1
    assert await world.sql("SELECT count(*) FROM entries WHERE kind = 'deposit'") == [(1,)]
    assert (await world.audit()).is_clean


async def test_one_key_for_several_users_at_the_same_time_has_one_winner(
    world: World, ledgers: list[Ledger]
) -> None:
    users = [f"user-{number}" for number in range(len(ledgers))]

    answers = await asyncio.gather(
        *(deposited(ledger, user=user) for ledger, user in zip(ledgers, users, strict=True)),
        return_exceptions=True,
    )

    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == len(users) - 1
    assert all(isinstance(error, ContentDiffers) for error in refused), refused
    assert await world.sql("SELECT count(*) FROM entries WHERE kind = 'deposit'") == [(1,)]
    assert (await world.audit()).is_clean


async def test_of_many_withdrawals_that_race_for_the_last_token_one_gets_it(
    world: World, ledgers: list[Ledger]
) -> None:
    await deposited(world.ledger, "1")

    answers = await asyncio.gather(
        *(withdrawn(ledger, "1", key=f"withdrawal {number}") for number, ledger in enumerate(ledgers * 2)),
        return_exceptions=True,
    )

    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == len(answers) - 1
    assert all(isinstance(error, InsufficientBalance) for error in refused), refused
    assert await world.balances("ann") == {"SOL": 0}
    assert (await world.audit()).is_clean


async def test_a_funding_repeated_by_many_at_the_same_time_is_one(world: World, ledgers: list[Ledger]) -> None:
    answers = await asyncio.gather(
        *(
            fund_pool(ledger, "SOL", units("5"), operator="tests", now=NOON, idempotency_key="funding")
            for ledger in ledgers * 2
        )
    )
    assert set(answers) == {units("1000005")}
