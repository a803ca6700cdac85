"""Every request may come again: at the same time, from another process, after a crash, much later. It has one
effect."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from world import LONG_AGO, Crash, World, a_world, activation, at, crash_before_statement, day, program_with, units

from contract.requests import EnrolRequest
from ledger.corrections import adjust, reverse
from ledger.enrolments import enrol
from ledger.errors import ContentDiffers
from ledger.movements import deposit
from ledger.pools import fund_pool
from staking.models import Rewards

pytestmark = pytest.mark.on_both_databases

Words = Callable[[World], Awaitable[Any]]


async def nothing(world: World) -> None:
    pass


async def deposited(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"), key="first deposit")


async def enrolled(world: World) -> None:
    await deposited(world)
    await world.enrol("ann", at("2026-10-01 10:00"))


async def opened(world: World) -> None:
    await enrolled(world)
    await world.snapshot("ann", day("2026-10-01"))


async def closed(world: World) -> None:
    await opened(world)
    await world.snapshot("ann", day("2026-10-02"))


async def the_rewards(world: World) -> Rewards:
    return await world.compute(await world.snapshot("ann", day("2026-10-02")))


async def credit(world: World) -> Any:
    return await world.credit("ann", await the_rewards(world))


async def move(world: World) -> Any:
    return await world.move("ann", "-3", "SOL", at("2026-10-01 12:00"), key="withdrawal 1")


async def fund(world: World) -> Any:
    return await fund_pool(
        world.ledger, "SOL", units("5"), operator="tests", now=LONG_AGO, idempotency_key="funding 1"
    )


async def deposited_twice(world: World) -> None:
    await deposited(world)
    await world.move("ann", "1", "SOL", at("2026-10-01 09:30"), key="second deposit")


async def deposit_more(world: World) -> Any:
    now = at("2026-10-01 12:00")
    return (await deposit(world.ledger, "ann", "SUI", 5, idempotency_key="deposit 1", now=now)).entry


async def reverse_the_second(world: World) -> Any:
    ((entry_id,),) = await world.sql("SELECT entry_id FROM entries WHERE idempotency_key = 'second deposit'")
    now = at("2026-10-01 12:00")
    return (await reverse(world.ledger, entry_id, reason="a mistake", operator="zoe", now=now)).entry


async def adjust_down(world: World) -> Any:
    now = at("2026-10-01 12:00")
    return (await adjust(world.ledger, "ann", "SOL", -5, reason="a fee", operator="zoe", now=now)).entry


async def import_two_lines(world: World) -> Any:
    await world.import_lines(
        "ann,2026-10-01 11:00:00,Spot,Deposit,SOL,2,", "ann,2026-10-01 11:30:00,Spot,Withdraw,SOL,-1,"
    )


@dataclass(frozen=True)
class Operation:
    before: Words
    run: Words


OPERATIONS = {
    "enrol": Operation(deposited, lambda world: world.enrol("ann", at("2026-10-01 10:00"))),
    "close the activation day": Operation(enrolled, lambda world: world.snapshot("ann", day("2026-10-01"))),
    "close an accrual day": Operation(opened, lambda world: world.snapshot("ann", day("2026-10-02"))),
    "credit": Operation(closed, credit),
    "end": Operation(closed, lambda world: world.end("ann", at("2026-10-03 09:00"))),
    "movement": Operation(deposited, move),
    "funding": Operation(nothing, fund),
    "deposit": Operation(deposited, deposit_more),
    "reversal": Operation(deposited_twice, reverse_the_second),
    "adjustment": Operation(deposited, adjust_down),
    "import": Operation(deposited, import_two_lines),
    "program": Operation(nothing, lambda world: world.apply(program_with("2027-01-01", SOL={"apr": "0.5"}))),
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())


async def life_goes_on(world: World) -> None:
    """Credits the owed days, ends the enrolment if there is one, enrols the user anew and earns another day."""
    await world.move("ann", "30", "SOL", at("2026-10-02 13:00"))
    for unfinished in (await world.recall("ann")).enrolments:
        enrolment_id = unfinished.receipt.enrolment_id
        if unfinished.next_day == day("2026-10-01"):
            await world.snapshot("ann", day("2026-10-01"))
        if unfinished.next_day <= day("2026-10-02"):
            await world.pay("ann", day("2026-10-02"))
        await world.end("ann", at("2026-10-03 10:00"), enrolment_id=enrolment_id)
    assert await world.enrol("ann", at("2026-10-04 10:00"), enrolment_id="the next")
    await world.snapshot("ann", day("2026-10-04"), enrolment_id="the next")
    await world.pay("ann", day("2026-10-05"), enrolment_id="the next")
    await world.pay("ann", day("2026-10-06"), enrolment_id="the next")


@every_operation
async def test_a_repeat_has_the_same_answer_and_no_second_effect(world: World, operation: Operation) -> None:
    await operation.before(world)
    first = await operation.run(world)
    after_first = await world.everything()

    assert await operation.run(world) == first
    assert await world.everything() == after_first


@every_operation
async def test_a_repeat_much_later_has_no_second_effect(world: World, operation: Operation) -> None:
    await operation.before(world)
    first = await operation.run(world)
    await life_goes_on(world)
    later = await world.everything()

    again = await operation.run(world)

    assert await world.everything() == later
    if operation.run is not fund:  # This is the pool's balance, which has fallen meanwhile.
        assert again == first


@every_operation
async def test_eight_simultaneous_requests_in_two_processes_have_one_answer_and_one_effect(
    world: World, other: World, operation: Operation, tmp_path: Path
) -> None:
    await operation.before(world)

    answers = await asyncio.gather(*(operation.run(each) for each in (world, other) * 4))

    (tmp_path / "once").mkdir()
    async with a_world(tmp_path / "once") as once:
        await operation.before(once)
        expected = await operation.run(once)
        assert answers == [expected] * 8
        assert await world.everything() == await once.everything()


@every_operation
async def test_a_crash_before_any_statement_leaves_nothing_half_done(world: World, operation: Operation) -> None:
    await operation.before(world)
    before = await world.everything()

    crashes = 0
    while True:
        try:
            with crash_before_statement(world.ledger, crashes):
                await operation.run(world)
        except Crash:
            assert await world.everything() == before
            crashes += 1
        else:
            break

    assert crashes > 1
    assert (await world.audit()).is_clean


@every_operation
async def test_a_request_cancelled_at_any_point_can_be_repeated(world: World, operation: Operation) -> None:
    await operation.before(world)

    for patience in range(60):
        task = asyncio.ensure_future(operation.run(world))
        for _ in range(patience):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None

    await operation.run(world)
    assert (await world.audit()).is_clean


async def test_an_activation_repeated_under_another_enrolment_id_gets_the_first_receipt(world: World) -> None:
    await deposited(world)
    first = await world.enrol("ann", at("2026-10-01 10:00"), enrolment_id="one")

    assert await world.enrol("ann", at("2026-10-01 11:00"), enrolment_id="two") == first


async def test_different_simultaneous_activations_open_one_enrolment(world: World, other: World) -> None:
    await deposited(world)

    receipts = await asyncio.gather(
        *(
            each.enrol("ann", at("2026-10-01 10:00"), enrolment_id=f"number {number}")
            for number, each in enumerate((world, other) * 4)
        )
    )

    assert all(receipt == receipts[0] for receipt in receipts)
    assert await world.sql("SELECT count(*) FROM enrolments") == [(1,)]


async def change_a_reward(world: World) -> None:
    rewards = await the_rewards(world)
    line = rewards.lines[0].model_copy(update={"reward": units("0.5")})
    await world.credit("ann", rewards.model_copy(update={"lines": [line]}))


async def change_an_average(world: World) -> None:
    rewards = await the_rewards(world)
    line = rewards.lines[0].model_copy(update={"average": units("99")})
    await world.credit("ann", rewards.model_copy(update={"lines": [line]}))


async def change_the_version(world: World) -> None:
    await world.credit("ann", (await the_rewards(world)).model_copy(update={"program_version": 7}))


async def leave_an_asset_out(world: World) -> None:
    await world.credit("ann", (await the_rewards(world)).model_copy(update={"lines": []}))


async def credit_to_another_enrolment(world: World) -> None:
    await world.credit("ann", await the_rewards(world), enrolment_id="another")


async def close_for_another_enrolment(world: World) -> None:
    await world.snapshot("ann", day("2026-10-02"), enrolment_id="another")


async def enrol_from_elsewhere(world: World) -> None:
    await world.enrol("ann", at("2026-10-01 10:00"), region="DE")


async def enrol_with_other_documents(world: World) -> None:
    documents = dict.fromkeys(activation().documents, "1999-01-01")
    changed = activation().model_copy(update={"documents": documents})
    instant = at("2026-10-01 10:00")
    await enrol(
        world.ledger,
        EnrolRequest(
            user_id="ann", enrolment_id="enrolment of ann", activation=changed, activated_at=instant, now=instant
        ),
    )


async def enrol_back_dated_instead(world: World) -> None:
    instant = at("2026-10-01 10:00")
    await enrol(
        world.ledger,
        EnrolRequest(
            user_id="ann",
            enrolment_id="enrolment of ann",
            activation=activation(back_dated_to=instant),
            activated_at=instant,
            now=instant,
        ),
    )


async def enrol_another_user(world: World) -> None:
    await world.enrol("bob", at("2026-10-01 10:00"), enrolment_id="enrolment of ann")


async def move_another_amount(world: World) -> None:
    await world.move("ann", "13", "SOL", at("2026-10-01 09:00"), key="first deposit")


async def move_another_asset(world: World) -> None:
    await world.move("ann", "12", "SUI", at("2026-10-01 09:00"), key="first deposit")


async def move_another_user(world: World) -> None:
    await world.move("bob", "12", "SOL", at("2026-10-01 09:00"), key="first deposit")


async def move_at_another_instant(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 08:59"), key="first deposit")


async def fund_under_the_key_of_a_movement(world: World) -> None:
    await fund_pool(
        world.ledger, "SOL", units("12"), operator="tests", now=LONG_AGO, idempotency_key="first deposit"
    )


async def funded(world: World) -> None:
    await fund(world)


async def fund_another_amount(world: World) -> None:
    await fund_pool(world.ledger, "SOL", units("6"), operator="tests", now=LONG_AGO, idempotency_key="funding 1")


async def fund_another_asset(world: World) -> None:
    await fund_pool(world.ledger, "SUI", units("5"), operator="tests", now=LONG_AGO, idempotency_key="funding 1")


async def move_under_the_key_of_a_funding(world: World) -> None:
    await world.move("ann", "5", "SOL", at("2026-10-01 09:00"), key="funding 1")


async def credited(world: World) -> None:
    await closed(world)
    await credit(world)


@pytest.mark.parametrize(
    ("first", "other_content", "recorded", "asked"),
    [
        (credited, change_a_reward, "0.00026301 SOL", "0.50000000 SOL"),
        (credited, change_an_average, "average 12.00000000", "average 99.00000000"),
        (closed, change_an_average, "12.00000000 SOL", "99.00000000 SOL"),
        (credited, change_the_version, "program version 1", "program version 7"),
        (closed, change_the_version, "program version 1", "program version 7"),
        (credited, leave_an_asset_out, "0.00026301 SOL", "nothing"),
        (closed, leave_an_asset_out, "12.00000000 SOL", "empty"),
        (credited, credit_to_another_enrolment, "enrolment enrolment of ann", "enrolment another"),
        (closed, close_for_another_enrolment, "enrolment enrolment of ann", "enrolment another"),
        (enrolled, enrol_from_elsewhere, "FR", "DE"),
        (enrolled, enrol_with_other_documents, "2026-01-01", "1999-01-01"),
        (enrolled, enrol_back_dated_instead, "None", "was enrolled elsewhere"),
        (enrolled, enrol_another_user, "ann", "bob"),
        (deposited, move_another_amount, "12.00000000 SOL", "13.00000000 SOL"),
        (deposited, move_another_asset, "12.00000000 SOL", "12.00000000 SUI"),
        (deposited, move_another_user, "ann", "bob"),
        (deposited, move_at_another_instant, "2026-10-01T09:00", "2026-10-01T08:59"),
        (deposited, fund_under_the_key_of_a_movement, "ann", "pool"),
        (funded, fund_another_amount, "5.00000000 SOL", "6.00000000 SOL"),
        (funded, fund_another_asset, "5.00000000 SOL", "5.00000000 SUI"),
        (funded, move_under_the_key_of_a_funding, "pool", "ann"),
    ],
)
async def test_a_repeat_with_other_content_is_refused_in_a_sentence_that_names_both(
    world: World, first: Words, other_content: Words, recorded: str, asked: str
) -> None:
    await first(world)
    before = await world.everything()

    with pytest.raises(ContentDiffers) as refused:
        await other_content(world)

    said_first, _, said_now = str(refused.value).partition("and is now asked as")
    assert recorded in said_first
    assert asked in said_now
    assert await world.everything() == before
