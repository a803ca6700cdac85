"""A reader who goes on after the last event that it was given never misses one, however writers overlap."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import databases
import psycopg
import pytest
from world import LONG_AGO, World, at

from contract.events import EnrolmentEnded, EventKind
from ledger.database.engine import Ledger
from ledger.events.reading import events_after
from ledger.locking import lock_or_make_users, lock_users
from ledger.outbox import NewEvent, write_events

INSERT = (
    "INSERT INTO events (kind, user_id, about, recorded_at, data) VALUES ('day.delayed', '{}', '{}', 0, '{{}}') "
    "RETURNING event_number"
)

KIND: EventKind = "enrolment.ended"
DATA = EnrolmentEnded(
    enrolment_id="e", ended_at=LONG_AGO, last_accrual_day=None, owed_days=0, reason="r", message=None
)


@asynccontextmanager
async def a_transaction(folder: Path) -> AsyncGenerator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(databases.url_in(folder)) as connection:
        yield connection


async def insert(connection: psycopg.AsyncConnection, about: str) -> int:
    cursor = await connection.execute(INSERT.format(about, about).encode())
    found = await cursor.fetchone()
    assert found
    return found[0]


async def read(ledger: Ledger, after: int) -> tuple[list[str], int]:
    """Which events come next, and the cursor after them."""
    page = await events_after(ledger, after, limit=1000, kinds=["day.delayed"])
    return [event.event_id.removeprefix("day.delayed/") for event in page.events], page.cursor


@pytest.mark.on_postgresql
async def test_an_event_is_not_given_while_an_earlier_one_is_on_its_way(world: World, tmp_path: Path) -> None:
    _, cursor = await read(world.ledger, 0)
    async with a_transaction(tmp_path) as slow, a_transaction(tmp_path) as fast:
        await slow.execute(b"UPDATE users SET generation = 0 WHERE user_id = 'nobody'")
        assert await insert(slow, "first") < await insert(fast, "second")
        await fast.commit()

        assert await read(world.ledger, cursor) == ([], cursor)
        await slow.commit()

        told, _ = await read(world.ledger, cursor)
        assert told == ["first", "second"]


@pytest.mark.on_postgresql
async def test_whoever_began_first_and_numbers_last_loses_nothing_either(world: World, tmp_path: Path) -> None:
    """By the numbers of transactions alone the event of the first would come after that of the second."""
    _, cursor = await read(world.ledger, 0)
    async with a_transaction(tmp_path) as older, a_transaction(tmp_path) as younger:
        await older.execute(b"SELECT pg_current_xact_id()")
        await insert(younger, "first")
        await insert(older, "second")
        await older.commit()
        assert await read(world.ledger, cursor) == ([], cursor)
        await younger.commit()
        told, _ = await read(world.ledger, cursor)
        assert told == ["first", "second"]


@pytest.mark.on_postgresql
async def test_an_event_that_is_taken_back_holds_up_nothing_once_it_is(world: World, tmp_path: Path) -> None:
    _, cursor = await read(world.ledger, 0)
    async with a_transaction(tmp_path) as undone, a_transaction(tmp_path) as done:
        await insert(undone, "undone")
        await insert(done, "done")
        await done.commit()
        assert await read(world.ledger, cursor) == ([], cursor)
        await undone.rollback()
        told, _ = await read(world.ledger, cursor)
        assert told == ["done"]


@pytest.mark.on_postgresql
async def test_what_began_after_an_event_was_seen_does_not_hold_it_back(world: World, tmp_path: Path) -> None:
    """Under load there is always something under way."""
    _, cursor = await read(world.ledger, 0)
    async with a_transaction(tmp_path) as before, a_transaction(tmp_path) as after:
        await insert(before, "before")
        async with a_transaction(tmp_path) as done:
            await insert(done, "done")
        assert await read(world.ledger, cursor) == ([], cursor)
        await insert(after, "after")
        await before.commit()
        told, _ = await read(world.ledger, cursor)
        assert told == ["before", "done"]


@pytest.mark.on_both_databases
async def test_readers_beside_many_writers_are_given_every_event_once_and_each_user_s_in_order(
    world: World, other: World
) -> None:
    seed = 2026
    users = [f"u{number}" for number in range(12)]
    async with world.ledger.write() as connection:
        await lock_or_make_users(connection, users)
    written: dict[str, int] = dict.fromkeys(users, 0)
    done = asyncio.Event()

    async def write(ledger: Ledger, number: int) -> None:
        """Batches of users, each told once more; every fifth batch is taken back at its end."""
        dice = random.Random(seed + number)
        for batch in range(40):
            chosen = sorted(dice.sample(users, 4))
            try:
                async with ledger.write() as connection:
                    await lock_users(connection, chosen)
                    numbers = {user: written[user] + 1 for user in chosen}
                    for half in (chosen[:2], chosen[2:]):
                        await write_events(
                            connection,
                            [
                                NewEvent(KIND, LONG_AGO, user, about=f"{user}/{numbers[user]}", data=DATA)
                                for user in half
                            ],
                        )
                    if batch % 5 == number % 5:
                        raise TakenBack
                    written.update(numbers)  # under the locks, so that the next one counts on
            except TakenBack:
                pass

    async def read_all(ledger: Ledger) -> list[str]:
        cursor, found = 0, list[str]()
        while True:
            is_last = done.is_set()
            page = await events_after(ledger, cursor, limit=7, kinds=[KIND])
            found += [event.event_id for event in page.events]
            cursor = page.cursor
            if is_last and not page.events:
                return found
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read_all(ledger)) for ledger in (world.ledger, other.ledger)]
    ledgers = [world.ledger, other.ledger] * 2
    await asyncio.gather(*(write(ledger, number) for number, ledger in enumerate(ledgers)))
    done.set()

    expected = {
        user: [f"{KIND}/{user}/{number}" for number in range(1, count + 1)] for user, count in written.items()
    }
    assert sum(written.values()) == 4 * 40 * 4 * 4 // 5
    for found in await asyncio.gather(*readers):
        assert {user: [one for one in found if one.split("/")[1] == user] for user in users} == expected


class TakenBack(Exception):
    """A transaction ends without having written anything."""


async def test_a_process_that_starts_reads_what_was_committed_before(world: World, other: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    page = await events_after(other.ledger, 0, limit=10)
    assert [event.kind for event in page.events] == ["program.applied", "enrolment.began"]
