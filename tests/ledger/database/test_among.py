"""Many values of a column are found with one parameter, whatever characters they have."""

from typing import Any

import pytest
from sqlalchemy import event, select, text
from world import World, at

from ledger.database.among import Among
from ledger.database.schema import accounts, users

pytestmark = pytest.mark.on_both_databases

ODD_TEXTS = ["o'hara", "a\\b", '"quoted"', "100 %", "%(ids)s", "{brace}", ":ids", "a,b", "ü€", "", "NULL", "null"]
_USERS = select(users.c.user_id).where(Among(users.c.user_id, "ids"))
_ACCOUNTS = select(accounts.c.account_id).where(Among(accounts.c.account_id, "ids"))


async def test_any_texts_are_found_as_they_are_and_no_others(world: World) -> None:
    async with world.ledger.write() as connection:
        for odd in ODD_TEXTS:
            new = {"user_id": odd, "closed_through": at("2026-10-01"), "latest_effective_at": at("2026-10-01")}
            await connection.execute(users.insert(), new)
        for asked in (ODD_TEXTS, ODD_TEXTS[::2], ["another", "o''hara", "a"], [], *([odd] for odd in ODD_TEXTS)):
            found = (await connection.scalars(_USERS, {"ids": asked})).all()
            assert sorted(found) == sorted({*asked} & {*ODD_TEXTS})


async def test_any_integers_are_found(world: World) -> None:
    for user in ("ann", "bob"):
        await world.move(user, "1", "SOL", at("2026-10-01 10:00"))
    async with world.ledger.read() as connection:
        opened = (await connection.scalars(select(accounts.c.account_id))).all()
        assert len(opened) > 2
        for asked in (opened, opened[1:], [], [*opened, 2**62]):
            found = (await connection.scalars(_ACCOUNTS, {"ids": asked})).all()
            assert sorted(found) == sorted({*asked} & {*opened})


async def test_a_thousand_values_are_found_by_the_index_with_a_text_that_does_not_grow(world: World) -> None:
    many = [f"user-{number}" for number in range(1000)]
    async with world.ledger.read() as connection:
        texts: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            texts.append(statement)

        event.listen(connection.sync_connection, "before_cursor_execute", note)
        for asked in (many[:1], many):
            await connection.execute(_USERS, {"ids": asked})
        if connection.dialect.name == "postgresql":
            assert texts[0] == texts[1]
        else:
            plan = await connection.execute(
                text(f"EXPLAIN QUERY PLAN {texts[0].replace('?', ':id')}"), {"id": "a"}
            )
            (step,) = plan.all()
            assert step.detail.startswith("SEARCH users USING"), step
