"""A ledger is opened where it is, and made only on request, whatever its folder is called."""

import asyncio
import ctypes
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import databases
import pytest
from commandline import STARTER, Answer, clean_environment
from world import ROOT, World, a_new_ledger, at

from ledger.database.engine import find_schema, make_ledger, open_ledger
from ledger.errors import LedgerUnavailable
from settings import Settings, sqlite_url

_DROP_FROM_BOUNDING_SET = 24
_OVERRIDES = (1, 2, 3)
"""With these capabilities root may read and write every file, whatever its mode is."""
_READ_AND_TELL = """
import asyncio, sys
from ledger.database.engine import open_ledger
from ledger.errors import LedgerUnavailable
async def read():
    async with open_ledger(sys.argv[1]) as ledger, ledger.read() as connection:
        await connection.exec_driver_sql("SELECT count(*) FROM entries")
        print("reading", flush=True)
        sys.stdin.readline()
try:
    asyncio.run(read())
except LedgerUnavailable as error:
    print(error)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder whose mode a test restricts."""
    place = tmp_path / "place"
    place.mkdir()
    yield place
    place.chmod(0o755)


def with_few_rights(*command: str, **options: Any) -> subprocess.Popen[str]:
    """A Python process to which the modes of files and folders apply, also if we are root."""

    def drop() -> None:
        if os.getuid() == 0:
            for capability in _OVERRIDES:
                assert ctypes.CDLL(None).prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0) == 0

    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, *command],
        preexec_fn=drop,  # noqa: PLW1509  # no other thread runs here
        cwd=ROOT,
        text=True,
        **pipes,
        **options,
    )


def run(*arguments: str, data_dir: Path) -> Answer:
    """A command with few rights."""
    environment = clean_environment(data_dir) | {"SOFT_STAKING_DATA_DIR": str(data_dir)}
    with with_few_rights(STARTER, *arguments, env=environment) as process:
        out, err = process.communicate()
    return Answer(process.returncode, out, err)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def make(folder: Path) -> Path:
    """An empty ledger in a folder, which nobody has open."""
    asyncio.run(make_ledger(sqlite_url(folder / "ledger.db")))
    return folder / "ledger.db"


def everything_in(folder: Path) -> dict[str, bytes | bool]:
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def nothing(folder: Path) -> None:
    pass


def an_empty_file(folder: Path) -> None:
    (folder / "ledger.db").touch()


def a_database_of_something_else(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")


def a_database_without_tables(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        connection.execute("VACUUM")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (nothing, "there is no ledger at"),
        (an_empty_file, "there is no ledger at"),
        (a_database_without_tables, "there is no ledger at"),
        (a_database_of_something_else, "in use for something else (it has the tables songs)"),
    ],
)
@pytest.mark.parametrize("form", ["sqlite:///{}/ledger.db", "sqlite:///file:{}/ledger.db?uri=true"])
async def test_opening_and_looking_make_and_change_nothing_where_there_is_no_ledger(
    found: Callable[[Path], None], says: str, form: str, tmp_path: Path
) -> None:
    found(tmp_path)
    before = everything_in(tmp_path)

    with pytest.raises(LedgerUnavailable) as refused:
        async with open_ledger(form.format(tmp_path)):
            pass
    with suppress(LedgerUnavailable):
        assert (await find_schema(form.format(tmp_path))).version is None

    assert says in str(refused.value)
    assert f"{tmp_path}/ledger.db" in str(refused.value)
    assert everything_in(tmp_path) == before


async def test_the_refusal_names_the_whole_path_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(LedgerUnavailable) as refused:
        async with open_ledger("sqlite:///nosuch/x.db"):
            pass

    for part in (
        f"sqlite:///{tmp_path}/nosuch/x.db",
        "the folder of your installation",
        "SOFT_STAKING_DATA_DIR",
        "SOFT_STAKING_DATABASE_URL",
        "starter.py db upgrade",
        "worker.py --dev",
    ):
        assert part in str(refused.value)
    assert everything_in(tmp_path) == {}


@pytest.mark.on_both_databases
async def test_a_ledger_is_made_where_there_is_none_and_left_alone_where_there_is_one(tmp_path: Path) -> None:
    url = databases.url_in(tmp_path / "a" / "b")

    assert await make_ledger(url) is True
    async with open_ledger(url) as ledger:
        assert await World(ledger).balances("ann") == {}
        before = await World(ledger).everything()
    assert await make_ledger(url) is False

    async with open_ledger(url) as ledger:
        assert await World(ledger).everything() == before
    databases.forget(tmp_path / "a" / "b")


async def test_a_ledger_is_not_made_in_a_database_of_something_else(tmp_path: Path) -> None:
    a_database_of_something_else(tmp_path)
    before = everything_in(tmp_path)

    with pytest.raises(LedgerUnavailable, match="in use for something else"):
        await make_ledger(f"sqlite:///{tmp_path}/ledger.db")

    assert everything_in(tmp_path) == before


async def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(LedgerUnavailable, match="folder /proc/folder cannot be made"):
        await make_ledger("sqlite:////proc/folder/ledger.db")


async def test_a_ledger_that_disappears_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    async with a_new_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for name in names_in(tmp_path):
            (tmp_path / name).unlink()
        # Open connections keep the file that was there. Each further connection has to open it.
        with pytest.raises(LedgerUnavailable):
            async with ledger.read(), ledger.read():
                pass

    assert everything_in(tmp_path) == {}


@pytest.mark.parametrize("name", ["50%20off", "q?x=1", "a#b", "ü and ß", "c+d&e=f", "g@h:i", "file:j", "%"])
@pytest.mark.parametrize("is_absolute", [True, False])
async def test_a_data_folder_of_any_name_holds_its_ledger(
    name: str, is_absolute: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOFT_STAKING_DATA_DIR", str(tmp_path / name) if is_absolute else name)
    url = Settings().ledger_url

    async with a_new_ledger(url) as ledger:
        await World(ledger).move("ann", "12", "SOL", at("2026-10-01"))
        where = ledger.where
    async with open_ledger(where) as ledger:
        assert await World(ledger).balances("ann") == {"SOL": 12_00000000}

    assert (names_in(tmp_path), names_in(tmp_path / name)) == ({name}, {"ledger.db"})


@pytest.mark.parametrize("read_only", ["folder", "file", "folder and file"])
def test_a_ledger_in_a_folder_or_file_that_may_not_be_written_is_read_and_a_write_names_it(
    read_only: str, place: Path
) -> None:
    file = make(place)
    file.chmod(0o444 if "file" in read_only else 0o666)
    place.chmod(0o555 if "folder" in read_only else 0o777)

    read = run("audit", data_dir=place)
    written = run("deposit", "ann", "SOL", "12", "--key", "d-1", data_dir=place)

    assert (read.code, read.err) == (0, "")
    assert "every invariant holds" in read.out
    assert (written.code, written.out, written.err.count("\n")) == (1, "", 1)
    assert "may not be written by this user" in written.err
    assert (f" {file} " in written.err) is ("file" in read_only)
    assert (f" {place} " in written.err) is ("folder" in read_only)


def _a_crash_after_a_deposit(folder: Path) -> None:
    """Leaves a WAL behind, as a killed process does."""
    code = (
        "import sqlite3, os\n"
        f"connection = sqlite3.connect({str(folder / 'ledger.db')!r})\n"
        "columns = 'user_id, closed_through, latest_effective_at'\n"
        "connection.execute(f\"INSERT INTO users ({columns}) VALUES ('ann', 0, 0)\")\n"
        "connection.commit()\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_killed_process_wrote_last_is_read_or_it_is_said_that_it_cannot_be(place: Path) -> None:
    make(place)
    _a_crash_after_a_deposit(place)
    for path in place.iterdir():
        path.chmod(0o444)
    place.chmod(0o555)

    with_both_files = run("db", "check", data_dir=place)
    place.chmod(0o755)
    (place / "ledger.db-shm").unlink()
    place.chmod(0o555)
    without_one = run("db", "check", data_dir=place)

    assert (with_both_files.code, with_both_files.err) == (0, "")
    assert (without_one.code, without_one.out, without_one.err.count("\n")) == (1, "", 1)
    assert "cannot be read safely: ledger.db-wal" in without_one.err


def test_what_was_written_while_it_was_read_without_locks_is_not_believed(place: Path) -> None:
    url = sqlite_url(make(place))

    async def deposit() -> None:
        async with open_ledger(url) as ledger:
            await World(ledger).move("ann", "12", "SOL", at("2026-10-01"))

    place.chmod(0o555)
    with with_few_rights("-c", _READ_AND_TELL, url) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        place.chmod(0o755)
        asyncio.run(deposit())
        said, _ = reader.communicate("\n")

    assert "was written while it was read: try again" in said


async def test_a_copy_that_is_no_wal_file_becomes_one_when_it_is_used(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
        connection.execute(f"VACUUM INTO '{copy}'")

    async with open_ledger(sqlite_url(copy)) as ledger, ledger.read() as connection:
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one() == "wal"
