"""A part is sent to PostgreSQL before its users are locked. A change in between is noticed under the locks."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import databases
import pytest
from sqlalchemy import event
from sqlalchemy.util import await_only
from world import BY_A_TEST, EXPORT_HEADER, World, at, day, units

from ledger.database.engine import open_ledger
from ledger.imports.history_export import parse_export
from ledger.imports.importing import ImportReport, ImportStopped, import_export
from ledger.imports.records import list_imports, undo_import

Finish = Callable[[], Awaitable[ImportReport]]
Importing = Callable[..., AbstractAsyncContextManager[Finish]]
pytestmark = pytest.mark.parametrize("database", [databases.POSTGRESQL], indirect=True)

LINES = [f"ann,2026-10-01 {hour:02}:00:00,Spot,Deposit,SOL,2," for hour in range(9, 13)]
LINES += ["ann,2026-10-01 13:00:00,Spot,Withdraw,SOL,-5,", "ann,2026-10-01 14:00:00,Spot,Deposit,SOL,1,"]
NOON = at("2026-10-02 12:00")


@pytest.fixture(autouse=True)
def parts_of_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.imports.importing.PART_ENTRIES", 2)


@dataclass
class Import:
    """An import that is under way. After ``sent``, parts are planned that are not written before ``written``."""

    folder: Path
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    written: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, *lines: str) -> ImportReport:
        async with open_ledger(databases.url_in(self.folder), clock=lambda: NOON) as ledger:
            event.listen(ledger._engine.sync_engine, "before_cursor_execute", self._wait)
            export = parse_export("\n".join([EXPORT_HEADER, *lines]).encode())
            try:
                return await import_export(ledger, export, now=NOON, by=BY_A_TEST)
            finally:
                self.sent.set()  # If it failed before, nobody waits for it.

    def _wait(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("WITH numbered"):
            self.sent.set()
            await_only(self.written.wait())


@pytest.fixture
def importing(tmp_path: Path) -> Importing:
    """Imports lines. When the context begins, the first part is committed. Calling what it yields lets the rest be
    written, and returns the report."""

    @asynccontextmanager
    async def begun(*lines: str) -> AsyncGenerator[Finish]:
        running = Import(tmp_path)
        task = asyncio.create_task(running.run(*lines))

        async def finish() -> ImportReport:
            running.written.set()
            return await task

        try:
            await running.sent.wait()
            yield finish
        finally:
            running.written.set()
            await asyncio.gather(task, return_exceptions=True)

    return begun


async def test_a_posting_to_a_user_does_not_wait_until_a_part_is_written(
    world: World, importing: Importing
) -> None:
    async with importing(*LINES) as finish:
        await world.move("ann", "7", "SOL", NOON)
        assert (await finish()).imported == 6
    assert await world.balances("ann") == {"SOL": units("11")}
    assert (await world.audit()).is_clean


async def test_lines_of_a_day_that_is_closed_while_they_are_written_count_from_its_end(
    world: World, importing: Importing
) -> None:
    async with importing(*LINES) as finish:
        await world.enrol("ann", at("2026-10-01 10:30"))
        snapshot = await world.snapshot("ann", day("2026-10-01"))
        report = await finish()
    assert (report.imported, report.in_closed_days) == (6, 4)
    assert await world.snapshot("ann", day("2026-10-01")) == snapshot
    assert await world.holdings_before("ann", at("2026-10-02")) == {"SOL": units("4")}
    assert await world.balances("ann") == {"SOL": units("4")}
    order = await world.sql("SELECT coalesce(occurred_at, effective_at) FROM entries ORDER BY entry_id")
    assert order == sorted(order, key=tuple)
    assert (await world.audit()).is_clean


async def test_an_import_stops_where_the_tokens_go_while_a_part_is_written(
    world: World, importing: Importing
) -> None:
    async with importing(*LINES) as finish:
        await world.move("ann", "-4", "SOL", at("2026-10-01 12:30"))
        with pytest.raises(ImportStopped) as stopped:
            await finish()
    assert [(bad.number, bad.problem.partition(". ")[0]) for bad in stopped.value.refusal.bad] == [
        (6, "user ann's SOL balance would be -1.00000000 after 2026-10-01 13:00:00 UTC")
    ]
    assert await world.balances("ann") == {"SOL": units("4")}
    assert (await world.audit()).is_clean


async def test_what_another_process_imports_while_a_part_is_written_is_posted_once(
    world: World, importing: Importing
) -> None:
    async with importing(*LINES) as finish:
        await world.import_lines(*LINES)
        report = await finish()
    assert (report.imported, report.already_imported) == (2, 4)
    assert await world.balances("ann") == {"SOL": units("4")}
    async with world.ledger.read() as connection:
        assert [(one.state, one.movements) for one in await list_imports(connection)] == [("done", 6)]
    assert (await world.audit()).is_clean


async def test_lines_that_two_exports_have_are_posted_once_when_both_are_written_at_the_same_time(
    world: World, importing: Importing
) -> None:
    async with importing(*LINES) as finish:
        await world.import_lines(*LINES[:4], "ann,2026-10-01 12:30:00,Spot,Deposit,SOL,7,")
        report = await finish()
    assert (report.imported, report.already_imported) == (4, 2)
    assert await world.balances("ann") == {"SOL": units("11")}
    assert (await world.audit()).is_clean


async def test_what_is_left_of_an_import_that_is_undone_meanwhile_is_an_import_of_its_own(
    world: World, importing: Importing
) -> None:
    async with importing(*LINES[:4]) as finish:
        await undo_import(world.ledger, 1, reason="a mistake", operator="zoe", now=NOON)
        await finish()
    async with world.ledger.read() as connection:
        listed = [(one.state, one.movements, one.taken_back) for one in await list_imports(connection)]
    assert listed == [("undone", 2, 2), ("done", 2, 0)]
    assert await world.balances("ann") == {"SOL": units("4")}
    assert (await world.audit()).is_clean


async def test_parts_of_different_users_that_are_written_at_the_same_time_are_one_import(world: World) -> None:
    lines = [
        f"user{user},2026-10-01 {hour}:00:00,Spot,Deposit,{asset},1,"
        for user in range(8)
        for hour, asset in ((10, "SOL"), (11, f"A{user}"))
    ]
    assert (await world.import_lines(*lines)).imported == 16
    async with world.ledger.read() as connection:
        assert [(one.state, one.movements, one.users) for one in await list_imports(connection)] == [
            ("done", 16, 8)
        ]
    assert (await world.audit()).is_clean
