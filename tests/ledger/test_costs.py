"""The daily loop reads the database by index, in few statements, and reads no more after the ledger has grown."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import databases
import psycopg
import pytest
from sqlalchemy import event
from world import LONG_AGO, SHIPPED_PROGRAM, World, units

from activities.ledger_steps import Steps
from benchmarks.grown_ledger import NEXT_DAY, Users, add_users, enrolment_of, furnish
from contract.acts import Act
from contract.requests import ActRequest, ComputeRequest
from ledger.acts import hold, release
from ledger.database.engine import Ledger, open_ledger, upgrade_ledger
from ledger.imports.facts import read_facts
from ledger.imports.plan import Span
from ledger.imports.records import list_imports
from ledger.locking import users_as_they_are
from ledger.movements import deposit
from ledger.reading.standing import standing_of
from staking.days import ONE_DAY, end_of, start_of
from staking.models import CreditReceipt, Rewards

pytestmark = pytest.mark.on_both_databases

OTHERS = Users("other", 20_000)
ONE_ASSET = Users("one", 60, movements=10)
TEN_ASSETS = Users("ten", 60, assets=10, movements=10)
BUSY = Users("busy", 1, movements=10_000)
TINY = {"program_versions", "sources"}
"""Tables that may be read whole, since a program has only a few versions a year."""
STATEMENTS_PER_USER_DAY_MAX = 17
STATEMENTS_PER_DEPOSIT_MAX = 10


@dataclass
class Recorded:
    """The statements that a ledger sent to its database, with their (first) parameters."""

    statements: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def different(self) -> dict[str, Any]:
        return dict(self.statements)


@contextmanager
def recorded(ledger: Ledger) -> Generator[Recorded]:
    """Records every statement except the beginnings of transactions."""
    found = Recorded()

    def record(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            found.statements.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    event.listen(ledger._engine.sync_engine, "before_cursor_execute", record)
    try:
        yield found
    finally:
        event.remove(ledger._engine.sync_engine, "before_cursor_execute", record)


@pytest.fixture
async def grown(tmp_path: Path) -> AsyncGenerator[World]:
    """A ledger of many users, whose database knows its statistics."""
    if not databases.is_kept("grown"):
        with TemporaryDirectory() as folder:
            url = databases.url_in(Path(folder))
            await upgrade_ledger(url)
            async with open_ledger(url) as ledger:
                await furnish(ledger, SHIPPED_PROGRAM)
            for users in (OTHERS, ONE_ASSET, TEN_ASSETS, BUSY):
                add_users(url, users, SHIPPED_PROGRAM)
            async with open_ledger(url) as ledger:
                await hold_and_release(ledger, OTHERS.ids[:200])
            databases.raw(Path(folder), "VACUUM", "ANALYZE")
            databases.keep_as_template(Path(folder), "grown")
    databases.begin_with("grown", tmp_path)
    try:
        async with open_ledger(databases.url_in(tmp_path), clock=lambda: LONG_AGO) as ledger:
            yield World(ledger)
    finally:
        databases.forget(tmp_path)


async def hold_and_release(ledger: Ledger, user_ids: Sequence[str]) -> None:
    for user_id in user_ids:
        for done in (hold, release):
            request = ActRequest(
                user_id=user_id,
                act_id=f"{done.__name__}/{user_id}",
                act=Act(operator="ann", reason="a check"),
                now=LONG_AGO,
            )
            await done(ledger, request)


async def pay(world: World, user_id: str, *, times: int = 1) -> None:
    """Pays a user's next day, with each step as often as requested."""
    enrolment_id = enrolment_of(user_id)
    for _ in range(times):
        snapshot = await world.snapshot(user_id, NEXT_DAY, enrolment_id=enrolment_id)
    for _ in range(times):
        request = ComputeRequest(user_id=user_id, enrolment_id=enrolment_id, snapshot=snapshot)
        rewards = await Steps(world.ledger).compute(request)
        assert isinstance(rewards, Rewards)
    for _ in range(times):
        assert isinstance(await world.credit(user_id, rewards, enrolment_id=enrolment_id), CreditReceipt)


async def begin(world: World, user_id: str) -> None:
    """Makes a new user and goes on to the first accrual day, with each step twice."""
    noon, enrolment_id = start_of(NEXT_DAY) + timedelta(hours=12), enrolment_of(user_id)
    await move_twice(world, user_id, f"first of {user_id}")
    for _ in range(2):
        await world.enrol(user_id, noon, enrolment_id=enrolment_id)
    for _ in range(2):
        await world.snapshot(user_id, NEXT_DAY, enrolment_id=enrolment_id)


async def move_twice(world: World, user_id: str, key: str) -> None:
    now = start_of(NEXT_DAY) + timedelta(hours=1)
    for _ in range(2):
        await deposit(world.ledger, user_id, "BNB", units("100"), idempotency_key=key, now=now)


async def end_and_return(world: World, user_id: str) -> None:
    """Ends the last enrolment of a user and begins another one."""
    later = start_of(NEXT_DAY + ONE_DAY) + timedelta(hours=1)
    for _ in range(2):
        await world.end(user_id, later, enrolment_id=enrolment_of(user_id))
    await world.recall(user_id)
    await world.enrol(user_id, later, enrolment_id="another")
    await world.snapshot(user_id, NEXT_DAY + ONE_DAY, enrolment_id="another")
    await world.recall(user_id)


async def the_daily_loop(world: World) -> None:
    """Does everything that happens to users day after day, to one user alone and to many together."""
    await begin(world, "new")
    alone = ONE_ASSET.id_of(1)
    await move_twice(world, alone, "once")
    await pay(world, alone, times=2)
    await asyncio.gather(*(begin(world, f"new-{number}") for number in range(20)))
    await asyncio.gather(*(pay(world, user_id, times=2) for user_id in ONE_ASSET.ids[1:51]))
    await asyncio.gather(*(pay(world, user_id) for user_id in TEN_ASSETS.ids[1:51]))
    await pay(world, BUSY.id_of(1))
    await end_and_return(world, alone)
    await world.balances(alone)
    await world.holdings_before(alone, start_of(NEXT_DAY))
    await standing_of(world.ledger, alone, now=end_of(NEXT_DAY))


def whole_scans(folder: Path, statement: str, parameters: Any) -> list[str]:
    """The tables and indices that the database would read whole, without those that are always small."""
    if databases.kind == databases.SQLITE:
        scans = sqlite_scans(folder, statement, parameters)
    else:
        scans = postgresql_scans(folder, statement, parameters)
    return [scan for scan in scans if not TINY & set(scan.split())]


def sqlite_scans(folder: Path, statement: str, parameters: Any) -> list[str]:
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        plan = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    return [line for line in plan if re.match(r"SCAN (?!\d* ?CONSTANT ROW|\()", line)]


def postgresql_scans(folder: Path, statement: str, parameters: Any) -> list[str]:
    """This is tested for the plan for these parameters, and for the general plan, which PostgreSQL keeps if it
    costs no more."""
    numbers = {name: number for number, name in enumerate(parameters or {}, 1)}
    generic = re.sub(r"%\((\w+)\)s", lambda name: f"${numbers[name[1]]}", statement).replace("%%", "%")
    with closing(psycopg.connect(databases.url_in(folder), cursor_factory=psycopg.ClientCursor)) as connection:
        plans = [
            postgresql_plan(connection, "GENERIC_PLAN", generic, None),
            postgresql_plan(connection, "COSTS", statement, parameters),
        ]
    return [
        f"{node['Node Type']} {node.get('Relation Name', '')} {node.get('Index Name', '')}"
        for node in nodes(min(plans, key=lambda plan: plan["Total Cost"]))
        if "Scan" in node["Node Type"] and is_whole(node)
    ]


def postgresql_plan(
    connection: psycopg.Connection[Any], option: str, statement: str, parameters: Any
) -> Mapping[str, Any]:
    """The plan of a statement. Literal parameters are part of the plan."""
    explained = connection.execute(f"EXPLAIN ({option}, FORMAT JSON) {statement}".encode(), parameters).fetchone()
    assert explained is not None
    return explained[0][0]["Plan"]


def nodes(plan: Mapping[str, Any]) -> Generator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def is_whole(node: Mapping[str, Any]) -> bool:
    if node["Node Type"] == "Seq Scan":
        return True
    return node["Node Type"] in ("Index Scan", "Index Only Scan", "Bitmap Index Scan") and "Index Cond" not in node


async def test_no_statement_of_the_daily_loop_reads_a_whole_table(grown: World, tmp_path: Path) -> None:
    with recorded(grown.ledger) as found:
        await the_daily_loop(grown)
    scans = {
        statement: scans
        for statement, parameters in found.different.items()
        if (scans := whole_scans(tmp_path, statement, parameters))
    }
    assert not scans, "\n\n".join(f"{scans}\n{statement}" for statement, scans in scans.items())


async def test_a_statement_that_reads_a_whole_table_would_be_seen(grown: World, tmp_path: Path) -> None:
    with recorded(grown.ledger) as found:
        await grown.sql("SELECT count(*) FROM users WHERE closed_through > :day", day=0)
        await grown.sql("SELECT count(*) FROM postings WHERE amount = :amount", amount=1)
        await grown.sql("SELECT user_id FROM users WHERE user_id = :user_id", user_id="ann")
    assert [bool(whole_scans(tmp_path, *each)) for each in found.statements] == [True, True, False]


@pytest.mark.parametrize("users", [ONE_ASSET, TEN_ASSETS], ids=["one asset", "ten assets"])
async def test_a_users_day_takes_few_statements_however_many_assets(grown: World, users: Users) -> None:
    await pay(
        grown, users.id_of(1)
    )  # This is like every day except the first one of a process, which does not know the program yet.
    with recorded(grown.ledger) as found:
        await pay(grown, users.id_of(2))
    assert len(found.statements) <= STATEMENTS_PER_USER_DAY_MAX


async def test_the_days_of_fifty_users_together_take_few_statements_in_all(grown: World) -> None:
    await pay(grown, ONE_ASSET.id_of(1))
    with recorded(grown.ledger) as found:
        await asyncio.gather(*(pay(grown, user_id) for user_id in ONE_ASSET.ids[1:51]))
    assert len(found.statements) <= 4 * STATEMENTS_PER_USER_DAY_MAX


async def test_a_deposit_takes_few_statements(grown: World) -> None:
    now = start_of(NEXT_DAY) + timedelta(hours=1)
    with recorded(grown.ledger) as found:
        await deposit(grown.ledger, BUSY.id_of(1), "BNB", 1, idempotency_key="deposit", now=now)
    assert len(found.statements) <= STATEMENTS_PER_DEPOSIT_MAX


def work(folder: Path, statements: Sequence[tuple[str, Any]]) -> int:
    """The work of the database for statements: SQLite's steps, or the rows that PostgreSQL reads."""
    if databases.kind == databases.SQLITE:
        return sqlite_steps(folder, statements)
    with closing(psycopg.connect(databases.url_in(folder))) as connection:
        return sum(postgresql_rows(connection, *each) for each in statements)


def sqlite_steps(folder: Path, statements: Sequence[tuple[str, Any]]) -> int:
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        connection.set_progress_handler(count, 1)
        for statement, parameters in statements:
            connection.execute(statement, parameters).fetchall()
    return steps


def postgresql_rows(connection: psycopg.Connection[Any], statement: str, parameters: Any) -> int:
    plan = postgresql_plan(connection, "ANALYZE", statement, parameters)
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(plan)
        if "Scan" in node["Node Type"]
    )


@dataclass(frozen=True)
class Read:
    """Does for one user everything that reads the user's history."""

    name: str
    of: Callable[[World, str], Awaitable[object]]


READS = [
    Read("a day", pay),
    Read("a balance", World.balances),
    Read("a holding", lambda world, user_id: world.holdings_before(user_id, start_of(NEXT_DAY))),
    Read("a recollection", World.recall),
    Read("a deposit", lambda world, user_id: move_twice(world, user_id, f"once {user_id}")),
]


@pytest.mark.parametrize("read", READS, ids=lambda read: read.name)
async def test_the_rows_that_are_read_do_not_grow_with_the_movements_of_the_past(
    grown: World, tmp_path: Path, read: Read
) -> None:
    await pay(grown, ONE_ASSET.id_of(1))
    done: list[int] = []
    for user_id in (ONE_ASSET.id_of(2), BUSY.id_of(1)):
        with recorded(grown.ledger) as found:
            await read.of(grown, user_id)
        selects = [each for each in found.statements if each[0].startswith("SELECT")]
        assert selects
        done.append(work(tmp_path, selects))
    few, many = done
    assert many <= few


async def test_what_a_part_of_an_import_reads_does_not_grow_with_the_parts_before_it(
    grown: World, tmp_path: Path
) -> None:
    last_of: dict[str, Span] = {}
    for user_id, minutes in ((ONE_ASSET.id_of(1), 20), (ONE_ASSET.id_of(2), 1_000)):
        times = [start_of(NEXT_DAY) + timedelta(minutes=minute) for minute in range(minutes)]
        lines = [f"{user_id},{time:%Y-%m-%d %H:%M:%S},Spot,Deposit,SOL,1," for time in times]
        await grown.import_lines(lines[0])
        await grown.import_lines(*lines, answer="same")
        last_of[user_id] = Span(times[-10], times[-1])
    done: list[int] = []
    async with grown.ledger.read() as connection:
        known = await users_as_they_are(connection, last_of)
        numbered = await list_imports(connection)
        for (user_id, span), own in zip(last_of.items(), numbered[1::2], strict=True):
            with recorded(grown.ledger) as found:
                await read_facts(connection, known, {user_id: span}, own, in_detail=False)
            done.append(work(tmp_path, found.statements))
    few, many = done
    assert many < 2 * few  # There are fifty times as many lines.
