"""A question in one message is read as it is, and if something goes wrong, a transaction asks it again."""

import logging
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from in_one_go import InOneGo, reading_in_one_go
from sqlalchemy import Text, bindparam, column, func, literal, select, table, union_all
from world import World, at

from ledger.database.one_go import ReadyStatement
from ledger.reading.plain import positions_asked, positions_in

pytestmark = pytest.mark.on_both_databases

NOW = at("2026-10-04 12:00")
ODD_TEXTS = ["o'hara", "a\\b", '"quoted"', "100 %", "%(users)s", "{brace}", ":name", "a,b", "ü€", ""]


@pytest.fixture
async def in_one_go(world: World, tmp_path: Path) -> AsyncGenerator[InOneGo]:
    async with reading_in_one_go(world, tmp_path) as found:
        yield found


async def test_any_text_is_asked_for_as_it_is(world: World, in_one_go: InOneGo) -> None:
    texts = union_all(*(select(literal(text, Text).label("text")) for text in ODD_TEXTS)).subquery()
    statement = ReadyStatement(
        select(texts.c.text, func.length(texts.c.text).label("length")).where(
            texts.c.text.in_(bindparam("several", type_=Text, expanding=True))
        )
    )
    for text in ODD_TEXTS:
        [rows] = await in_one_go(statement.bound(several=[text, "another"]))
        assert [(row.text, row.length) for row in rows] == [(text, len(text))]
    [rows] = await in_one_go(statement.bound(several=ODD_TEXTS))
    assert {row.text for row in rows} == {*ODD_TEXTS}


async def test_what_fails_is_left_to_a_transaction_and_the_next_is_read_in_one_go_again(
    world: World, in_one_go: InOneGo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "soft_staking.ledger")
    statement = ReadyStatement(select(column("missing")).select_from(table("users")))
    asked = positions_asked(["ann"], NOW)
    before = await in_one_go(*asked)

    assert await world.ledger.read_in_one_go(*asked, statement.bound()) is None
    (told,) = [record.getMessage() for record in caplog.records if record.name == "soft_staking.ledger"]
    assert re.search(r"so a transaction reads it: \w+Error$|: UndefinedColumn$", told), told
    assert await in_one_go(*asked) == before


async def test_nothing_of_it_outlives_it_and_what_was_committed_before_is_seen(
    world: World, in_one_go: InOneGo
) -> None:
    for number in range(1, 4):
        await world.move("ann", "1", "SOL", at(f"2026-10-01 0{number}:00"))
        found = await in_one_go(*positions_asked(["ann"], NOW))
        assert positions_in(found, ["ann"])["ann"].holdings == {"SOL": number * 10**8}
