"""A transaction is run again if the database gave it up in favour of another one, and for no other reason."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import databases
import psycopg
import pytest
from polling import eventually
from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.util import await_only
from world import LONG_AGO, World, at, day, paused_before, program_with, units

from ledger.corrections import adjust, reverse
from ledger.database.engine import Ledger, open_ledger
from ledger.errors import ContentDiffers, LedgerUnavailable
from ledger.movements import deposit
from ledger.pools import fund_pool
from ledger.programs import switch_assets

on_postgresql = pytest.mark.parametrize("database", [databases.POSTGRESQL], indirect=True)
NOW = at("2026-10-01 10:00")
Words = Callable[[World], Awaitable[Any]]
WHICH_IS_ANN_S = "SELECT 1 FROM users WHERE user_id = 'ann' FOR UPDATE"
WHICH_IS_BOB_S = "SELECT 1 FROM users WHERE user_id = 'bob' FOR UPDATE"
WHICH_IS_THE_POOL_S = "SELECT 1 FROM accounts WHERE kind = 'pool' AND asset = 'SOL' FOR UPDATE"


async def lived(world: World) -> None:
    """Ann is enrolled, her first day is closed, and one of her deposits was a mistake; bob is not enrolled."""
    await world.move("ann", "12", "SOL", NOW, key="first")
    await world.move("ann", "1", "SOL", NOW, key="second")
    await world.move("bob", "12", "SOL", NOW, key="first of bob")
    await world.enrol("ann", NOW)
    await world.snapshot("ann", day("2026-10-01"))


async def reverse_the_second(world: World) -> Any:
    ((entry_id,),) = await world.sql("SELECT entry_id FROM entries WHERE idempotency_key = 'second'")
    return await reverse(world.ledger, entry_id, reason="a mistake", operator="zoe", now=NOW)


async def fund(world: World) -> Any:
    return await fund_pool(world.ledger, "SOL", 5, operator="tests", now=NOW, idempotency_key="funding")


async def pause_sol(world: World) -> Any:
    first_day = day("2027-01-01")
    return await switch_assets(
        world.ledger, ["SOL"], paused=True, operator="tests", reason="a test", first_day=first_day, now=NOW
    )


@dataclass(frozen=True)
class Operation:
    run: Words
    writes: str
    """How the first statement that writes begins. When it is reached, the first lock is held."""
    first_lock: str = WHICH_IS_ANN_S

    @property
    def table(self) -> str:
        return self.writes.split()[-1]


OPERATIONS = {
    "movement": Operation(lambda world: world.move("ann", "1", "SOL", NOW, key="third"), "INSERT INTO entries"),
    "deposit": Operation(
        lambda world: deposit(world.ledger, "ann", "SOL", 5, idempotency_key="third", now=NOW),
        "INSERT INTO entries",
    ),
    "reversal": Operation(reverse_the_second, "INSERT INTO entries"),
    "adjustment": Operation(
        lambda world: adjust(world.ledger, "ann", "SOL", 5, reason="a gift", operator="zoe", now=NOW),
        "INSERT INTO entries",
    ),
    "import": Operation(
        lambda world: world.import_lines("ann,2026-10-01 11:00:00,Spot,Deposit,SOL,2,"), "INSERT INTO entries"
    ),
    "funding": Operation(fund, "INSERT INTO entries", WHICH_IS_THE_POOL_S),
    "enrolment": Operation(lambda world: world.enrol("bob", NOW), "INSERT INTO enrolments", WHICH_IS_BOB_S),
    "end": Operation(lambda world: world.end("ann", at("2026-10-03 09:00")), "UPDATE enrolments"),
    "closing": Operation(lambda world: world.snapshot("ann", day("2026-10-02")), "INSERT INTO days"),
    "credit": Operation(lambda world: world.pay("ann", day("2026-10-02")), "INSERT INTO entries"),
    "program": Operation(
        lambda world: world.apply(program_with("2027-01-01", SOL={"apr": "0.5"})), "INSERT INTO program_versions"
    ),
    "pause": Operation(pause_sol, "INSERT INTO program_versions"),
}


@contextmanager
def statements_of(ledger: Ledger, start: str) -> Generator[list[str]]:
    """Records every statement meanwhile that begins with a text."""
    seen: list[str] = []

    def see(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(start):
            seen.append(statement)

    sync_engine = ledger._engine.sync_engine
    event.listen(sync_engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(sync_engine, "before_cursor_execute", see)


@asynccontextmanager
async def a_rival(folder: Path) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
    """Another session on the same database. Its locks are in the way until its transaction ends."""
    connection = await psycopg.AsyncConnection.connect(databases.url_in(folder))
    try:
        yield connection
    finally:
        await connection.close()


async def until_it_waits(folder: Path, rival: psycopg.AsyncConnection[Any]) -> None:
    asked = f"SELECT 1 FROM pg_locks WHERE pid = {rival.info.backend_pid} AND NOT granted"

    async def it_waits() -> bool:
        return bool(databases.raw(folder, asked))

    await eventually(it_waits, "the rival waits")


@on_postgresql
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
async def test_an_operation_that_a_deadlock_ended_is_run_again(
    world: World, operation: Operation, tmp_path: Path
) -> None:
    await lived(world)
    databases.raw(
        tmp_path,
        # A session that waits this long looks for a deadlock, and gives way if there is one. The rival never does.
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = 10', current_database()); END $$",
    )
    async with (
        open_ledger(databases.url_in(tmp_path), clock=lambda: LONG_AGO) as ledger,
        a_rival(tmp_path) as rival,
    ):
        await rival.execute("SET deadlock_timeout = '1h'")
        pause, is_the_rival_s = paused_before(ledger, operation.writes), asyncio.Event()
        # Otherwise the second run might be faster than the rival, and give way again.
        event.listen(ledger._engine.sync_engine, "rollback", lambda _: await_only(is_the_rival_s.wait()))
        with statements_of(ledger, operation.writes) as runs:
            running = asyncio.ensure_future(operation.run(World(ledger)))
            await pause.reached.wait()
            await rival.execute(f"LOCK TABLE {operation.table} IN EXCLUSIVE MODE".encode())
            asking = asyncio.ensure_future(rival.execute(operation.first_lock.encode()))
            await until_it_waits(tmp_path, rival)
            pause.resume.set()
            await asking
            is_the_rival_s.set()
            await rival.rollback()
            await running

    assert len(runs) == 2
    assert (await world.audit()).is_clean


@on_postgresql
@pytest.mark.parametrize(("failures", "is_done"), [(1, True), (4, True), (5, False)])
async def test_an_operation_whose_serialization_fails_is_run_five_times_at_most(
    world: World, tmp_path: Path, failures: int, is_done: bool
) -> None:
    databases.raw(
        tmp_path,
        "CREATE SEQUENCE tries",  # A rollback does not reset it.
        f"""CREATE FUNCTION give_way() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') <= {failures} THEN
                RAISE EXCEPTION 'could not serialize' USING ERRCODE = 'serialization_failure';
            END IF; RETURN NEW; END $$""",
        "CREATE TRIGGER give_way BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION give_way()",
    )

    if is_done:
        await world.move("ann", "12", "SOL", NOW)
    else:
        with pytest.raises(LedgerUnavailable, match="could not serialize"):
            await world.move("ann", "12", "SOL", NOW)

    assert databases.raw(tmp_path, "SELECT last_value FROM tries") == [(min(failures + 1, 5),)]
    assert await world.balances("ann") == ({"SOL": units("12")} if is_done else {})


@on_postgresql
async def test_a_funding_whose_key_was_used_meanwhile_finds_the_entry_of_that_key(
    world: World, other: World
) -> None:
    pause = paused_before(world.ledger, "SELECT accounts.account_id")
    with statements_of(world.ledger, "INSERT INTO entries") as runs:
        running = asyncio.ensure_future(fund(world))
        await pause.reached.wait()
        first = await fund(other)
        pause.resume.set()

        assert await running == first
    assert len(runs) == 1  # The second time it found the entry.


@on_postgresql
@pytest.mark.parametrize(
    ("words", "writes", "meanwhile"),
    [
        (
            lambda world: world.move("ann", "1", "SOL", NOW, key="third"),
            "INSERT INTO entries",
            lambda other: other.move("bob", "1", "SOL", NOW, key="third"),
        ),
        (
            lambda world: world.enrol("bob", NOW, enrolment_id="one"),
            "INSERT INTO enrolments",
            lambda other: other.enrol("cyd", NOW, enrolment_id="one"),
        ),
    ],
    ids=["movement", "enrolment"],
)
async def test_a_key_that_another_user_s_request_took_meanwhile_is_refused_in_a_sentence(
    world: World, other: World, words: Words, writes: str, meanwhile: Words
) -> None:
    await lived(world)
    await world.move("cyd", "12", "SOL", NOW)
    pause = paused_before(world.ledger, writes)
    running = asyncio.ensure_future(words(world))
    await pause.reached.wait()
    await meanwhile(other)
    pause.resume.set()

    with pytest.raises(ContentDiffers):
        await running


@on_postgresql
async def test_an_operation_that_waited_too_long_for_a_lock_is_not_run_again(world: World, tmp_path: Path) -> None:
    await lived(world)

    def be_impatient(connection: Connection) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 20")

    event.listen(world.ledger._engine.sync_engine, "begin", be_impatient)
    async with a_rival(tmp_path) as rival:
        await rival.execute(WHICH_IS_ANN_S.encode())
        with (
            statements_of(world.ledger, "SELECT users") as runs,
            pytest.raises(LedgerUnavailable, match="lock timeout"),
        ):
            await world.move("ann", "1", "SOL", NOW)

    assert len(runs) == 1


@on_postgresql
async def test_an_operation_whose_connection_broke_is_not_run_again(world: World, tmp_path: Path) -> None:
    await lived(world)
    before = await world.everything()
    pause = paused_before(world.ledger, "INSERT INTO entries")
    with statements_of(world.ledger, "SELECT users") as runs:
        running = asyncio.ensure_future(world.move("ann", "1", "SOL", NOW))
        await pause.reached.wait()
        databases.raw(
            tmp_path,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        pause.resume.set()
        with pytest.raises(LedgerUnavailable, match="cannot be used"):
            await running

    assert len(runs) == 1
    assert await world.everything() == before


REFUSE_ENTRIES = {
    databases.SQLITE: "BEGIN SELECT RAISE(ABORT, 'no more entries'); END",
    databases.POSTGRESQL: "FOR EACH ROW EXECUTE FUNCTION entries_no_update()",
}


@pytest.mark.on_both_databases
async def test_what_the_database_refuses_for_another_reason_is_not_run_again(world: World, tmp_path: Path) -> None:
    await lived(world)
    databases.raw(tmp_path, f"CREATE TRIGGER refuse BEFORE INSERT ON entries {REFUSE_ENTRIES[databases.kind]}")

    with statements_of(world.ledger, "INSERT INTO entries") as runs, pytest.raises(IntegrityError):
        await world.move("ann", "1", "SOL", NOW)

    assert len(runs) == 1


async def test_a_writer_whom_another_process_keeps_waiting_asks_anew_until_it_is_free(
    world: World, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        asked = count(1)

        def let_go(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if statement == "BEGIN IMMEDIATE" and next(asked) == 3:
                holder.execute("COMMIT")

        event.listen(world.ledger._engine.sync_engine, "before_cursor_execute", let_go)
        await world.move("ann", "12", "SOL", NOW)

    assert await world.balances("ann") == {"SOL": units("12")}
