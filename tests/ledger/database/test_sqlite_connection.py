"""A statement and its first rows come from SQLite's thread in one step; further rows come in parts."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.engine import make_ledger, open_ledger
from settings import sqlite_url

_NUMBERS = text(
    "WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :last) "
    "SELECT number FROM numbers"
)


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncGenerator[AsyncConnection]:
    url = sqlite_url(tmp_path / "ledger.db")
    await make_ledger(url)
    async with open_ledger(url) as ledger, ledger.read() as connection:
        yield connection


@pytest.mark.parametrize("last", [1, 999, 1000, 1001, 2000, 2500])
async def test_every_row_is_read_however_many_there_are(connection: AsyncConnection, last: int) -> None:
    numbers = list(range(1, last + 1))
    assert list((await connection.execute(_NUMBERS, {"last": last})).scalars()) == numbers

    streamed = await connection.stream(_NUMBERS, {"last": last})
    parts = [part async for part in streamed.scalars().partitions(300)]
    assert [number for part in parts for number in part] == numbers

    assert (await connection.execute(_NUMBERS, {"last": last})).scalars().first() == 1


async def test_a_stream_that_is_left_holds_nothing_up(connection: AsyncConnection) -> None:
    streamed = await connection.stream(_NUMBERS, {"last": 5000})
    assert await anext(aiter(streamed.scalars())) == 1
    await streamed.close()
    assert await connection.scalar(_NUMBERS, {"last": 1}) == 1


async def test_a_statement_that_fails_leaves_the_connection_usable(connection: AsyncConnection) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        await connection.execute(text("SELECT 1 FROM missing"))
    assert await connection.scalar(_NUMBERS, {"last": 1}) == 1
