"""Every earlier schema version is upgraded to this program's in one transaction, and every row is kept."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import databases
import pytest
from alembic.script import ScriptDirectory
from earlier_ledgers import EARLIER, connected, make, make_unmarked
from sqlalchemy import Connection, Engine, event, inspect, text
from world import LONG_AGO, ROOT, World, at, day, units

from ledger.database import migrations
from ledger.database.engine import find_schema, open_ledger, upgrade_ledger
from ledger.database.migrations import SCHEMA_VERSION
from ledger.database.patience import Patience
from ledger.database.schema import metadata
from ledger.errors import LedgerUnavailable

on_both_databases = pytest.mark.on_both_databases
on_postgresql = pytest.mark.parametrize("database", [databases.POSTGRESQL], indirect=True)

NEWER = SCHEMA_VERSION + 97


Rows = dict[str, list[dict[str, Any]]]


def rows(folder: Path) -> Rows:
    """Every row of every table, by the names of the columns."""
    with connected(folder) as connection:
        return {
            table: [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]
            for table in inspect(connection).get_table_names()
            if table != "alembic_version"
        }


def assert_kept(before: Rows, after: Rows) -> None:
    """Tests that every row is there with its earlier values, in any order, and that no row is new."""
    for table, old in before.items():
        new = [{column: row[column] for column in old[0]} for row in after[table]]
        assert sorted(new, key=repr) == sorted(old, key=repr)


def version_mark(folder: Path) -> list[str]:
    return [mark for (mark,) in databases.raw(folder, "SELECT version_num FROM alembic_version")]


def described(connection: Connection) -> dict[str, Any]:
    """Everything that the database says about its tables."""
    inspector, dialect = inspect(connection), connection.dialect

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(part) for key, part in sorted(value.items())}
        if isinstance(value, list):
            return sorted((plain(part) for part in value), key=repr)
        return value if value is None or isinstance(value, bool | int | tuple) else plain_text(value)

    def plain_text(value: Any) -> str:
        shown = value.compile(dialect=dialect) if hasattr(value, "compile") else value
        return " ".join(str(shown).split())

    of_tables = {
        table: {
            "columns": [plain(dict(column)) for column in inspector.get_columns(table)],
            "primary key": plain(dict(inspector.get_pk_constraint(table))),
            "foreign keys": plain([dict(key) for key in inspector.get_foreign_keys(table)]),
            "unique": plain([dict(unique) for unique in inspector.get_unique_constraints(table)]),
            "checks": plain([dict(check) for check in inspector.get_check_constraints(table)]),
            "indexes": plain([dict(index) for index in inspector.get_indexes(table)]),
            "comment": inspector.get_table_comment(table) if dialect.supports_comments else None,
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }
    beside_them = [tuple(row) for row in connection.execute(text(BESIDE_TABLES[dialect.name]))]
    return of_tables | {"beside the tables": beside_them}


BESIDE_TABLES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') UNION ALL"
    " SELECT name, CAST(wr AS TEXT) FROM pragma_table_list"
    " WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'alembic_version' ORDER BY 1, 2",
    "postgresql": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal UNION ALL"
    " SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace UNION ALL"
    " SELECT indexname, indexdef FROM pg_indexes"
    " WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1, 2",
}


@on_both_databases
def test_a_new_ledger_has_the_schema_that_the_code_describes(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    with connected(tmp_path) as connection:
        migrations.upgrade(connection, "")
        found = described(connection)
    with connected(other) as connection:
        metadata.create_all(connection)
        expected = described(connection)

    assert set(expected) > {"entries", "postings"}
    assert found == expected


def test_the_first_version_is_what_programs_made_before_there_were_versions(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    make(tmp_path, 1)
    make_unmarked(other)

    with connected(tmp_path) as marked, connected(other) as unmarked:
        assert described(marked) == described(unmarked)


def test_the_version_that_the_program_needs_is_the_latest_there_is() -> None:
    script = ScriptDirectory(ROOT / "ledger" / "database" / "migrations")

    assert script.get_current_head() == str(SCHEMA_VERSION)
    assert {revision.revision for revision in script.walk_revisions()} == {
        str(version) for version in (*EARLIER, SCHEMA_VERSION)
    }


from_each_earlier_version = pytest.mark.parametrize(
    ("database", "make_before"),
    [
        pytest.param(kind, partial(make, version=version), id=f"{kind}-{version}")
        for kind in databases.KINDS
        for version in EARLIER
    ]
    + [pytest.param(databases.SQLITE, make_unmarked, id="sqlite-unmarked")],
    indirect=["database"],
)


@from_each_earlier_version
async def test_an_upgraded_ledger_keeps_every_row_and_guard_and_goes_on(
    make_before: Callable[[Path], None], tmp_path: Path
) -> None:
    make_before(tmp_path)
    before = rows(tmp_path)

    found = await upgrade_ledger(databases.url_in(tmp_path))

    assert found.version in EARLIER
    assert version_mark(tmp_path) == [str(SCHEMA_VERSION)]
    assert_kept(before, rows(tmp_path))
    async with open_ledger(databases.url_in(tmp_path), clock=lambda: LONG_AGO) as ledger:
        world = World(ledger, first_key=1000)
        with pytest.raises(Exception, match="entries are written once"):
            await world.sql("UPDATE entries SET note = 'changed'")
        assert (await world.audit()).is_clean
        await world.move("ann", "-0.5", "SOL", at("2026-10-03 12:00"))
        await world.pay("ann", day("2026-10-03"))
        assert [line.reward for line in await world.statement("ann")] == [units("0.00022191"), units("0.00022466")]
        assert (await world.audit()).is_clean
    databases.forget(tmp_path)


@from_each_earlier_version
async def test_an_upgraded_ledger_has_the_schema_of_a_new_one(
    make_before: Callable[[Path], None], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make_before(tmp_path)
    other = tmp_path_factory.mktemp("other")

    for folder in (tmp_path, other):
        await upgrade_ledger(databases.url_in(folder))

    with connected(tmp_path) as upgraded, connected(other) as new:
        assert described(upgraded) == described(new)


@from_each_earlier_version
async def test_an_older_ledger_is_upgraded_by_opening_it_only_where_it_is_embedded(
    make_before: Callable[[Path], None], tmp_path: Path
) -> None:
    make_before(tmp_path)
    url = databases.url_in(tmp_path)
    before = await find_schema(url)

    if databases.kind == databases.SQLITE:
        async with open_ledger(url) as ledger:
            assert await World(ledger).balances("bob") == {"SUI": units("250")}
        assert (await find_schema(url)).is_current
        return
    with pytest.raises(LedgerUnavailable) as refused:
        async with open_ledger(url):
            pass
    assert str(refused.value) == (
        f"the ledger {before.where} has schema version {before.version}, and this program needs schema version "
        f"{SCHEMA_VERSION}; bring it there with: starter.py db upgrade"
    )
    assert await find_schema(url) == before


@on_both_databases
async def test_a_database_without_a_ledger_is_filled_by_an_upgrade_alone(tmp_path: Path) -> None:
    url = databases.url_in(tmp_path)
    with pytest.raises(LedgerUnavailable, match=r"there is no ledger at .*starter\.py db upgrade"):
        async with open_ledger(url):
            pass
    assert (await find_schema(url)).version is None

    assert (await upgrade_ledger(url)).version is None

    async with open_ledger(url) as ledger:
        assert (await World(ledger).audit()).is_clean


@on_both_databases
async def test_an_upgrade_names_the_operators_who_ended_an_enrolment_and_the_formula_of_every_reward(
    tmp_path: Path,
) -> None:
    make(tmp_path, 4)

    await upgrade_ledger(databases.url_in(tmp_path))

    after = rows(tmp_path)
    assert {row["user_id"]: row["end_operator"] for row in after["enrolments"]} == {"ann": None, "bob": "ada"}
    assert [row["formula"] for row in after["rewards"]] == [1]
    assert [row["act_number"] for row in after["acts"]] == [1, 3, 4, 7]
    assert [row["reason"] for row in after["acts"] if row["user_id"] == "bob"] == [
        "asked to stop",
        "the database was lost",
    ]


@on_both_databases
async def test_an_upgrade_makes_acts_of_what_had_an_operator_elsewhere(tmp_path: Path) -> None:
    make(tmp_path, 4)
    databases.raw(
        tmp_path,
        "INSERT INTO entries (entry_id, kind, user_id, effective_at, recorded_at, operator, reason, reverses)"
        " VALUES (90, 'reversal', 'bob', 3, 3, 'ada', 'twice', 8),"
        " (91, 'adjustment', 'ann', 2, 2, 'ben', 'a fee', NULL)",
        "INSERT INTO enrolments (enrolment_id, user_id, region, channel, activated_at, recorded_at,"
        " first_accrual_day, operator, operator_reason)"
        " VALUES ('moved', 'bob', 'FR', 'web', 0, 1, 1, 'ada', 'moved')",
    )

    await upgrade_ledger(databases.url_in(tmp_path))

    added = rows(tmp_path)["acts"][4:]
    assert [(act["act_id"], act["user_id"], act["kind"], act["operator"], act["reason"]) for act in added] == [
        ("activate/moved", "bob", "activate", "ada", "moved"),
        ("adjust/91", "ann", "adjust", "ben", "a fee"),
        ("reverse/90", "bob", "reverse", "ada", "twice"),
    ]


@on_both_databases
async def test_an_upgrade_again_changes_nothing(world: World, tmp_path: Path) -> None:
    before = await world.everything()

    found = await upgrade_ledger(databases.url_in(tmp_path))

    assert found.is_current
    assert await world.everything() == before


@on_both_databases
async def test_each_version_is_announced_before_it_is_made(tmp_path: Path) -> None:
    heard: list[int] = []

    assert (await upgrade_ledger(databases.url_in(tmp_path), on_version=heard.append)).version is None

    assert heard == [*EARLIER, SCHEMA_VERSION]


@on_both_databases
async def test_a_newer_ledger_is_left_alone_in_one_sentence_that_names_both_versions(
    world: World, tmp_path: Path
) -> None:
    databases.raw(tmp_path, f"UPDATE alembic_version SET version_num = '{NEWER}'")
    before = await world.everything()
    sentence = (
        f"the ledger {world.ledger.where} has schema version {NEWER}, and this program needs schema version "
        f"{SCHEMA_VERSION}; use the newer program"
    )

    with pytest.raises(LedgerUnavailable) as not_opened:
        async with open_ledger(databases.url_in(tmp_path)):
            pass
    with pytest.raises(LedgerUnavailable) as not_upgraded:
        await upgrade_ledger(databases.url_in(tmp_path))

    assert [str(not_opened.value), str(not_upgraded.value)] == [sentence, sentence]
    assert await world.everything() == before
    assert version_mark(tmp_path) == [str(NEWER)]


OTHER_PROGRAMS = {
    "without versions": ["CREATE TABLE orders (id INTEGER)", "CREATE TABLE users (id INTEGER)"],
    "with alembic's versions": [
        "CREATE TABLE orders (id INTEGER)",
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        "INSERT INTO alembic_version VALUES ('1')",
    ],
    "that has no tables at the moment": [
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        "INSERT INTO alembic_version VALUES ('ae1027a6acf')",
    ],
}


@on_both_databases
@pytest.mark.parametrize("other", OTHER_PROGRAMS)
async def test_another_program_s_database_is_not_filled(other: str, tmp_path: Path) -> None:
    databases.url_in(tmp_path)
    databases.raw(tmp_path, *OTHER_PROGRAMS[other])
    before = rows(tmp_path)

    with pytest.raises(LedgerUnavailable, match="in use for something else"):
        async with open_ledger(databases.url_in(tmp_path)):
            pass
    with pytest.raises(LedgerUnavailable, match="in use for something else"):
        await upgrade_ledger(databases.url_in(tmp_path))

    assert rows(tmp_path) == before


UPGRADING = """
import asyncio, os, signal, sys
from sqlalchemy import Engine, event
from ledger.database.engine import upgrade_ledger

@event.listens_for(Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *_):
    if sys.argv[1:] and statement.startswith(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

print("ready", flush=True)
for url in map(str.strip, sys.stdin):
    print(asyncio.run(upgrade_ledger(url)).version, flush=True)
"""


class Upgrader:
    """A process that upgrades the ledger of each folder that it reads, as soon as it reads it."""

    def __init__(self, *, killed_before: str | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", UPGRADING, *([killed_before] if killed_before else [])],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, folder: Path) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{databases.url_in(folder)}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ended(self) -> int:
        self._process.communicate()
        return self._process.returncode


@on_both_databases
@pytest.mark.parametrize("version", EARLIER)
async def test_a_killed_upgrade_leaves_the_older_version_whole(version: int, tmp_path: Path) -> None:
    make(tmp_path, version)
    before = rows(tmp_path)

    upgrader = Upgrader(killed_before="UPDATE alembic_version")
    upgrader.tell(tmp_path)

    assert upgrader.ended() == -signal.SIGKILL
    assert (await find_schema(databases.url_in(tmp_path))).version == version
    assert rows(tmp_path) == before
    assert (await upgrade_ledger(databases.url_in(tmp_path))).version == version


@on_both_databases
def test_a_ledger_that_many_processes_upgrade_at_the_same_time_is_upgraded_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    new, old = (tmp_path_factory.mktemp("ledger") for _ in range(2))
    make(old, version=1)
    upgraders = [Upgrader() for _ in range(3)]
    assert [upgrader.answer() for upgrader in upgraders] == ["ready"] * 3

    found: list[list[str]] = []
    for folder in (new, old):
        for upgrader in upgraders:
            upgrader.tell(folder)
        found.append(sorted(upgrader.answer() for upgrader in upgraders))

    assert [upgrader.ended() for upgrader in upgraders] == [0, 0, 0]
    current = str(SCHEMA_VERSION)
    assert found == [sorted(["None", current, current]), sorted(["1", current, current])]
    assert [version_mark(folder) for folder in (new, old)] == [[current]] * 2


@on_both_databases
async def test_two_ledgers_are_upgraded_at_the_same_time_in_one_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folders = [tmp_path_factory.mktemp("ledger") for _ in range(4)]

    await asyncio.gather(*(upgrade_ledger(databases.url_in(folder)) for folder in folders))

    for folder in folders:
        assert (await find_schema(databases.url_in(folder))).is_current
        databases.forget(folder)


@on_both_databases
async def test_an_upgrade_that_must_wait_too_long_says_both_versions_and_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path, version=1)
    before = rows(tmp_path)

    with connected(tmp_path) as other:
        other.exec_driver_sql("INSERT INTO entries (kind, effective_at, recorded_at) VALUES ('movement', 0, 0)")
        with pytest.raises(LedgerUnavailable) as waited:
            await upgrade_ledger(databases.url_in(tmp_path), patience=Patience(turn_s=2, upgrade_turn_s=0))
        other.rollback()

    assert "lock" in str(waited.value)
    assert f"schema version 1, and this program needs schema version {SCHEMA_VERSION}" in str(waited.value)
    assert rows(tmp_path) == before


@on_postgresql
async def test_an_upgrade_may_take_longer_than_any_other_statement(tmp_path: Path) -> None:
    limits: set[str] = set()

    def ask(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.lstrip().startswith("CREATE"):
            cursor.execute("SELECT current_setting('statement_timeout')")
            limits.update(cursor.fetchone())

    event.listen(Engine, "before_cursor_execute", ask)
    try:
        await upgrade_ledger(databases.url_in(tmp_path))
    finally:
        event.remove(Engine, "before_cursor_execute", ask)

    assert limits == {"6h"}


async def test_an_older_ledger_that_may_only_be_read_says_both_versions(tmp_path: Path) -> None:
    make(tmp_path, 1)

    with pytest.raises(LedgerUnavailable, match=r"readonly.* schema version 1, .* needs schema version"):
        async with open_ledger(f"sqlite:///file:{tmp_path}/ledger.db?mode=ro&uri=true"):
            pass


async def test_looking_for_a_version_makes_nothing(tmp_path: Path) -> None:
    found = await find_schema(f"sqlite:///{tmp_path}/a/ledger.db")

    assert (found.where, found.version) == (f"sqlite:///{tmp_path}/a/ledger.db", None)
    assert await asyncio.to_thread(lambda: [*tmp_path.iterdir()]) == []


async def test_a_ledger_of_this_version_opens_without_a_writer(world: World, tmp_path: Path) -> None:
    async with world.ledger.write(), open_ledger(databases.url_in(tmp_path)) as other:
        assert await World(other).balances("ann") == {}
