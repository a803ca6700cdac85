"""What is read in one go is what a transaction reads, and whatever goes wrong is left to a transaction."""

from typing import Any

import pytest
from sqlalchemy import Text, bindparam, column, func, literal, select, table, union_all
from world import World, at, day

from contract.acts import Act
from contract.requests import ActRequest
from ledger.acts import hold
from ledger.corrections import reverse
from ledger.database.one_go import BoundStatement, ReadyStatement
from ledger.programs import program_on
from ledger.reading.earnings import positions, positions_asked, positions_in
from ledger.reading.standing import standings_asked, standings_in, standings_of

pytestmark = pytest.mark.on_both_databases

NOW = at("2026-10-04 12:00")
ODD_TEXTS = ["o'hara", "a\\b", '"quoted"', "100 %", "%(users)s", "{brace}", ":name", "a,b", "ü€", ""]


@pytest.fixture
async def known(world: World) -> dict[str, str]:
    """Users of every kind, and what each is."""
    for user in ("ann", "ben", "cleo", "dan", "eve"):
        await world.move(user, "12", "SOL", at("2026-09-30"))
    await world.move("ann", "2.5", "BNB", at("2026-10-03 18:00"))
    for user in ("ann", "ben", "cleo", "eve"):
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.snapshot(user, day("2026-10-01"))
        await world.pay(user, day("2026-10-02"))
    for user in ("ann", "ben", "eve"):
        await world.pay(user, day("2026-10-03"))
    first, _ = await world.statement("ben")
    assert first.entry_id is not None
    await reverse(world.ledger, first.entry_id, reason="wrong", operator="tests", now=NOW)
    await world.end("ben", at("2026-10-04 10:00"))
    request = ActRequest(user_id="eve", act_id="hold", act=Act(operator="tests", reason="a check"), now=NOW)
    await hold(world.ledger, request)
    return {
        "ann": "enrolled",
        "ben": "ended, with a reward that was taken back",
        "cleo": "owed a day",
        "dan": "never enrolled",
        "eve": "held",
        "fred": "unknown",
    }


async def in_one_go(world: World, *asked: BoundStatement) -> list[Any]:
    found = await world.ledger.read_in_one_go(*asked)
    assert found is not None
    return found


async def test_positions_in_one_go_are_those_of_a_transaction(world: World, known: dict[str, str]) -> None:
    users = [*known]
    for instant in (NOW, at("2026-10-02 12:00")):
        [rows] = await in_one_go(world, positions_asked(users, instant))
        async with world.ledger.read() as connection:
            assert positions_in(rows, users) == await positions(connection, users, instant)


async def test_standings_in_one_go_are_those_of_a_transaction_but_of_whom_there_is_more_to_ask(
    world: World, known: dict[str, str]
) -> None:
    users = [*known]
    rows = await in_one_go(world, *standings_asked(users, NOW))
    async with world.ledger.read() as connection:
        version = await program_on(connection, NOW.date())
        expected = await standings_of(world.ledger, connection, users, now=NOW)

    found = standings_in(rows, users, version.program, NOW.date())

    assert found == {user: expected[user] for user in ("ann", "ben", "dan", "fred")}
    assert expected["cleo"].owed_days
    assert expected["eve"].hold


async def test_any_text_is_asked_for_as_it_is(world: World) -> None:
    texts = union_all(*(select(literal(text, Text).label("text")) for text in ODD_TEXTS)).subquery()
    statement = ReadyStatement(
        select(texts.c.text, func.length(texts.c.text).label("length")).where(
            texts.c.text.in_(bindparam("several", type_=Text, expanding=True))
        )
    )
    for text in ODD_TEXTS:
        [rows] = await in_one_go(world, statement.bound(several=[text, "another"]))
        assert [(row.text, row.length) for row in rows] == [(text, len(text))]
    [rows] = await in_one_go(world, statement.bound(several=ODD_TEXTS))
    assert {row.text for row in rows} == {*ODD_TEXTS}


async def test_what_fails_is_left_to_a_transaction_and_the_next_is_read_in_one_go_again(world: World) -> None:
    statement = ReadyStatement(select(column("missing")).select_from(table("users")))
    before = await in_one_go(world, positions_asked(["ann"], NOW))

    assert await world.ledger.read_in_one_go(positions_asked(["ann"], NOW), statement.bound()) is None
    assert await in_one_go(world, positions_asked(["ann"], NOW)) == before


async def test_nothing_of_it_outlives_it_and_what_was_committed_before_is_seen(world: World) -> None:
    for number in range(1, 4):
        await world.move("ann", "1", "SOL", at(f"2026-10-01 0{number}:00"))
        [rows] = await in_one_go(world, positions_asked(["ann"], NOW))
        assert positions_in(rows, ["ann"])["ann"].holdings == {"SOL": number * 10**8}
