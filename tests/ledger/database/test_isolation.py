"""Why a user's lock is the first statement, by itself, at READ COMMITTED: every other way misses something on
PostgreSQL.

SQLite has one writer at a time, so nothing can be committed between the beginning and the end of a transaction.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import databases
import pytest
from psycopg import AsyncConnection, IsolationLevel
from sqlalchemy import event
from world import World, at, day, units, until_a_lock_is_waited_for

from ledger.locking import lock_users

pytestmark = pytest.mark.on_postgresql

D1, D2 = day("2026-10-01"), day("2026-10-02")
LOCK = "SELECT closed_through FROM users WHERE user_id = 'ann' FOR UPDATE"
READ = "SELECT balance FROM accounts WHERE user_id = 'ann'"
LOCK_AND_READ = "SELECT balance FROM users JOIN accounts USING (user_id) WHERE user_id = 'ann' FOR UPDATE OF users"
LOCKS = re.compile(r" FOR (NO KEY )?UPDATE$")
MOVE = "UPDATE accounts SET balance = balance + 5 WHERE user_id = 'ann'"


async def last_read(connection: AsyncConnection, statements: list[str]) -> int:
    for statement in statements:
        cursor = await connection.execute(statement.encode())
        (value,) = (await cursor.fetchall())[0]
    return value


@pytest.mark.parametrize(
    ("level", "statements", "sees_it"),
    [
        pytest.param(IsolationLevel.READ_COMMITTED, [LOCK, READ], True, id="the lock first"),
        pytest.param(IsolationLevel.READ_COMMITTED, [LOCK_AND_READ], False, id="lock and read in one statement"),
        pytest.param(IsolationLevel.REPEATABLE_READ, [LOCK, READ], False, id="repeatable read"),
    ],
)
async def test_only_a_lock_that_is_taken_first_lets_its_holder_see_what_it_waited_for(
    world: World, tmp_path: Path, level: IsolationLevel, statements: list[str], sees_it: bool
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    url = databases.url_in(tmp_path)
    async with await AsyncConnection.connect(url) as mover, await AsyncConnection.connect(url) as reader:
        await reader.set_isolation_level(level)
        await mover.execute(LOCK)
        await mover.execute(MOVE)
        reading = asyncio.ensure_future(last_read(reader, statements))
        await until_a_lock_is_waited_for(tmp_path)
        await mover.commit()

        assert await reading - units("12") == (5 if sees_it else 0)


Words = Callable[[World], Awaitable[object]]


async def move(world: World) -> object:
    return await world.move("ann", "1", "SOL", at("2026-10-02 12:00"))


async def close(world: World) -> object:
    return await world.snapshot("ann", D2)


async def credit(world: World) -> object:
    return await world.credit("ann", await world.compute(await world.snapshot("ann", D2)))


async def end(world: World) -> object:
    return await world.end("ann", at("2026-10-03 09:00"))


@pytest.mark.parametrize("words", [move, close, credit, end])
async def test_whatever_posts_to_a_user_locks_first_and_reads_after_it(world: World, words: Words) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    transactions: list[list[str]] = []

    def begin(_connection: object) -> None:
        transactions.append([])

    def execute(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            transactions[-1].append(" ".join(statement.split()))

    engine = world.ledger._engine.sync_engine
    event.listen(engine, "begin", begin)
    event.listen(engine, "before_cursor_execute", execute)
    await words(world)

    posting = [statements for statements in transactions if any(LOCKS.search(text) for text in statements)]
    assert posting
    for first, *others in posting:
        assert re.search(r" FROM users WHERE .*" + LOCKS.pattern, first)
        assert others


async def test_names_are_ordered_by_their_bytes_wherever_locks_are_taken_in_their_order(world: World) -> None:
    for user in ("a", "B", "_", "b"):
        await world.move(user, "1", "SOL", at("2026-10-01 08:00"))
    async with world.ledger.write() as connection:
        locked = await lock_users(connection, ["a", "B", "_", "b"])
    assert list(locked) == sorted(locked) == ["B", "_", "a", "b"]


async def test_no_name_is_ordered_by_the_rules_of_a_language(world: World) -> None:
    names = await world.sql(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND column_name IN ('user_id', 'asset', 'enrolment_id', 'kind', 'idempotency_key', 'document')"
        " AND collation_name IS DISTINCT FROM 'C'"
    )
    assert names == []
