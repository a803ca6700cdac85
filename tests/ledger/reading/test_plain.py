"""The fast reading of plain users gives what a transaction reads, and nobody else is taken for a plain user."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from in_one_go import InOneGo, reading_in_one_go
from world import World, at, day

from contract.acts import Act
from contract.requests import ActRequest
from ledger.acts import hold, release
from ledger.corrections import reverse
from ledger.programs import program_on
from ledger.reading.earnings import positions
from ledger.reading.plain import positions_asked, positions_in, standings_asked, standings_in
from ledger.reading.standing import standings_of
from staking.days import day_of

pytestmark = pytest.mark.on_both_databases

NOW = at("2026-10-04 12:00")


async def act_on(world: World, user: str, *, releases: bool = False) -> None:
    for number, doing in enumerate((hold, release) if releases else (hold,)):
        request = ActRequest(
            user_id=user, act_id=f"{number} {user}", act=Act(operator="tests", reason="a check"), now=NOW
        )
        await doing(world.ledger, request)


@pytest.fixture
async def users(world: World) -> dict[str, bool]:
    """Users of every kind, and whether each is a plain one."""
    plain = {
        "enrolled": True,
        "enrolled anew": True,
        "ended": True,
        "released": True,
        "held": False,
        "owed": False,
        "reversed": False,
        "moves-later": False,
        "begun-today": True,
        "never-enrolled": True,
        "unknown": True,
    }
    plain = {user.replace(" ", "-"): is_plain for user, is_plain in plain.items()}
    for user in [*plain][:-1]:
        await world.move(user, "12", "SOL", at("2026-09-30"))
    await world.move("enrolled", "2.5", "BNB", at("2026-10-03 18:00"))
    await world.move("enrolled", "-2.5", "BNB", at("2026-10-03 19:00"))
    for user in [*plain][:8]:
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.snapshot(user, day("2026-10-01"))
        await world.pay(user, day("2026-10-02"))
        if user != "owed":
            await world.pay(user, day("2026-10-03"))
    await world.enrol("begun-today", at("2026-10-04 10:00"))
    for user in ("ended", "enrolled-anew"):
        await world.end(user, at("2026-10-04 10:00"))
    await world.enrol("enrolled-anew", at("2026-10-04 11:00"), enrolment_id="another")
    await act_on(world, "released", releases=True)
    await act_on(world, "held")
    first, _ = await world.statement("reversed")
    assert first.entry_id is not None
    await reverse(world.ledger, first.entry_id, reason="wrong", operator="tests", now=NOW)
    await world.move("moves-later", "1", "SOL", at("2026-10-04 12:01"))
    return plain


@pytest.fixture
async def in_one_go(world: World, tmp_path: Path) -> AsyncGenerator[InOneGo]:
    async with reading_in_one_go(world, tmp_path) as found:
        yield found


async def test_the_positions_of_plain_users_are_those_that_a_transaction_reads(
    world: World, users: dict[str, bool], in_one_go: InOneGo
) -> None:
    found = positions_in(await in_one_go(*positions_asked([*users], NOW)), [*users])
    async with world.ledger.read() as connection:
        expected = await positions(connection, [*users], NOW)

    assert found == {user: expected[user] for user in users if user not in ("reversed", "moves-later")}
    assert found["enrolled"].holdings["BNB"] == 0


async def test_the_standings_of_plain_users_are_those_that_a_transaction_reads_and_others_are_left_out(
    world: World, users: dict[str, bool], in_one_go: InOneGo
) -> None:
    found = await in_one_go(*standings_asked([*users], NOW))
    async with world.ledger.read() as connection:
        version = await program_on(connection, day_of(NOW))
        expected = await standings_of(world.ledger, connection, [*users], now=NOW)

    told = standings_in(found, [*users], version.program, day_of(NOW))

    assert told == {user: expected[user] for user, is_plain in users.items() if is_plain}
    assert expected["enrolled-anew"].enrolled
    assert expected["held"].hold
    assert expected["owed"].owed_days


@pytest.mark.parametrize("is_behind", [False, True])
async def test_a_day_that_is_over_and_not_closed_makes_a_user_not_plain(
    world: World, in_one_go: InOneGo, is_behind: bool
) -> None:
    """The day of the activation is never owed, but must be closed."""
    await world.move("ann", "12", "SOL", at("2026-10-03 10:00"))
    await world.enrol("ann", at("2026-10-03 10:00"))
    if not is_behind:
        await world.snapshot("ann", day("2026-10-03"))
    async with world.ledger.read() as connection:
        version = await program_on(connection, day_of(NOW))

    found = await in_one_go(*standings_asked(["ann"], NOW))

    assert standings_in(found, ["ann"], version.program, day_of(NOW))["ann"].is_behind == is_behind
