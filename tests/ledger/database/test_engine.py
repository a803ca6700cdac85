"""Opening the ledger: whatever is wrong with the database is one sentence."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import databases
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from world import World, a_new_ledger, at

from ledger.database.engine import open_ledger
from ledger.database.patience import Patience
from ledger.errors import LedgerUnavailable
from ledger.locking import lock_user

IMPATIENT = Patience(turn_s=0)


def not_a_database(folder: Path) -> str:
    (folder / "notes.txt").write_text("this is no database. " * 500)
    return f"sqlite:///{folder}/notes.txt"


def a_folder(folder: Path) -> str:
    return f"sqlite:///{folder}"


def in_a_file(folder: Path) -> str:
    (folder / "file").write_text("")
    return f"sqlite:///{folder}/file/ledger.db"


def in_a_folder_that_takes_no_file(folder: Path) -> str:
    return "sqlite:////proc/ledger.db"


def that_must_exist_and_does_not(folder: Path) -> str:
    return f"sqlite:///file:{folder}/none.db?mode=ro&uri=true"


def with_a_name_too_long(folder: Path) -> str:
    return f"sqlite:///{folder}/{'x' * 300}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (not_a_database, "file is not a database"),
        (a_folder, "is a folder"),
        (in_a_file, "there is no ledger at"),
        (in_a_folder_that_takes_no_file, "there is no ledger at"),
        (that_must_exist_and_does_not, "there is no ledger at"),
        (with_a_name_too_long, "too long"),
        (lambda _: "mysql://host/ledger", "mysql is not a database that the ledger knows"),
        (lambda _: "carrier-pigeon://host", "not a database"),
        (lambda _: "postgresql://host:port/ledger", "not a database URL"),
        (lambda _: "sqlite://host/ledger.db", "not a database URL"),
        (lambda _: "sqlite:///ledger.db?timeout=soon", "not a database URL"),
        (lambda _: "sqlite:///led\0ger.db", "names no file"),
        (lambda _: "sqlite://", "names no file"),
        (lambda _: "sqlite:///:memory:", "names no file"),
        (lambda _: "ledger.db", "not a database URL"),
        (lambda _: "", "not a database URL"),
    ],
)
async def test_a_ledger_that_cannot_be_opened_is_one_sentence(
    url: Callable[[Path], str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(LedgerUnavailable) as unavailable:
        async with open_ledger(url(tmp_path)):
            pass

    sentence = str(unavailable.value)
    assert says in sentence
    assert "\n" not in sentence
    assert not any(word in sentence for word in ("Traceback", "sqlite3.", "sqlalchemy", "Error)", "aiosqlite"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger", "Connection refused"),
        ("postgresql://ann:s3cret@no-such-host.invalid/ledger", "cannot be used"),
        ("postgresql://127.0.0.1:1/ledger?user=ann&password=s3cret", "Connection refused"),
        ("postgresql://127.0.0.1:1/ledger?pasword=s3cret", "'pasword' in the ledger's URL is not an option"),
        (
            "postgresql://ann:s3cret@127.0.0.1:1/ledger?prepare_threshold=0",
            "'prepare_threshold' in the ledger's URL",
        ),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?autocommit=1", "'autocommit' in the ledger's URL"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?row_factory=x", "'row_factory' in the ledger's URL"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?context=x", "'context' in the ledger's URL"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?async_creator_fn=x", "'async_creator_fn' in the ledger's"),
        ("postgresql://127.0.0.1:1/ledger?password=s3cret&password=s3cret", "'password' stands"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?connect_timeout=soon", "connect_timeout"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?tcp_user_timeout=soon", "tcp_user_timeout"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?keepalives=maybe", "keepalives"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?sslmode=perhaps", "sslmode"),
        ("postgresql://ann:s3cret@/ledger?host=127.0.0.1&port=many", "is not a database URL"),
        ("postgresql://ann:s3cret@/ledger?host=127.0.0.1:1&host=127.0.0.1:2", "Connection refused"),
        ("postgresql://ann:s3cret@/ledger?host=127.0.0.1:1&host=127.0.0.1", "Connection refused"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?target_session_attrs=best", "target_session_attrs"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?options", "Connection refused"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?connect_timeout=0", "Connection refused"),
        ("postgresql://ann:s3cret@127.0.0.1:1/ledger?connect_timeout=-1", "Connection refused"),
        ("postgresql://ann:s3cret@host:port/ledger", "'postgresql:…' is not a database URL"),
        ("postgresql://ann:s3cret/ledger", "'postgresql:…' is not a database URL"),
        ("ann:s3cret@host/ledger", "'ann:…' is not a database URL"),
        ("postgresql://ann:s3cret/cret@s3cret@host/ledger", "write @ as %40"),
        ("postgresql://ann:s3cret@s3cret/cret@host/ledger", "write @ as %40"),
        ("postgresql://a/n:s3cret@host/ledger", "write @ as %40"),
        ("postgresql://ann:s3cret#/?%@127.0.0.1:1/ledger", "Connection refused"),
        ("mysql://ann:s3cret@host/ledger", "mysql is not a database that the ledger knows"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_one_sentence_without_the_password(url: str, says: str) -> None:
    with pytest.raises(LedgerUnavailable) as unavailable:
        async with open_ledger(url):
            pass

    sentence = str(unavailable.value)
    assert says in sentence
    assert "\n" not in sentence
    assert not any(word in sentence for word in ("s3cret", "Traceback", "psycopg", "sqlalchemy", "Error)"))


TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x46"


@pytest.mark.parametrize(
    ("answer", "options", "says"),
    [
        (b"N", "?sslmode=require", "for a server without TLS: ?sslmode=disable"),
        (TLS_ALERT, "", "?sslmode=require&sslnegotiation=direct"),
        (TLS_ALERT, "?sslmode=disable", "?sslmode=require&sslnegotiation=direct"),
    ],
)
async def test_a_server_that_uses_tls_in_another_way_than_it_was_asked_is_named_as_the_problem(
    answer: bytes, options: str, says: str
) -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(LedgerUnavailable) as unavailable:
            async with open_ledger(f"postgresql://ann:s3cret@127.0.0.1:{port}/ledger{options}"):
                pass

    sentence = str(unavailable.value)
    assert sentence.endswith(says)
    assert sentence.isprintable()
    assert "s3cret" not in sentence


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://postgres@127.0.0.1:1/ledger", "Connection refused"),
        ("postgresql://postgres@/ledger?host=/nowhere", "No such file or directory"),
        ("{server}/nobody_made_it?host={socket}", 'database "nobody_made_it" does not exist'),
        ("postgresql://stranger@/postgres?host={socket}", 'role "stranger" does not exist'),
        ("postgres://postgres@/nobody_made_it?host={socket}", 'database "nobody_made_it" does not exist'),
        ("postgresql://postgres@/ledger?no_such_option=1", "no_such_option"),
    ],
)
async def test_a_postgresql_ledger_that_cannot_be_opened_is_one_sentence(
    url: str, says: str, tmp_path: Path
) -> None:
    server, _, socket = databases.url_in(tmp_path).partition("?host=")
    with pytest.raises(LedgerUnavailable) as unavailable:
        async with open_ledger(url.format(server=server.rpartition("/")[0], socket=socket)):
            pass

    sentence = str(unavailable.value)
    assert says in sentence
    assert "\n" not in sentence
    assert not any(word in sentence for word in ("Traceback", "psycopg", "sqlalchemy", "Error)"))


async def test_a_ledger_that_may_only_be_read_says_so_when_it_is_written(world: World, tmp_path: Path) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))

    async with open_ledger(f"sqlite:///file:{tmp_path}/ledger.db?mode=ro&uri=true") as ledger:
        read_only = World(ledger)
        assert await read_only.balances("ann") == {"SOL": 12_00000000}
        with pytest.raises(LedgerUnavailable, match="attempt to write a readonly database"):
            await read_only.move("ann", "1", "SOL", at("2026-10-02"), key="another")


async def test_a_full_disk_is_one_sentence_and_nothing_half_written(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    before = await world.everything()
    async with world.ledger.write() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(LedgerUnavailable, match="full"):
        await world.import_lines(*(f"ann,2026-10-02 10:00:00,Spot,Deposit,SOL,1,{'x' * 300}" for _ in range(1000)))

    assert await world.everything() == before


async def test_a_ledger_that_another_process_holds_is_one_sentence(tmp_path: Path) -> None:
    async with (
        a_new_ledger(databases.url_in(tmp_path)) as one,
        open_ledger(f"sqlite:///{tmp_path}/ledger.db", patience=IMPATIENT) as two,
        one.write(),
    ):
        with pytest.raises(LedgerUnavailable, match="locked"):
            async with two.write():
                pass


@pytest.mark.on_postgresql
async def test_a_user_whose_lock_another_holds_is_one_sentence(world: World, tmp_path: Path) -> None:
    async with (
        open_ledger(databases.url_in(tmp_path), patience=Patience(turn_s=2)) as other,
        world.ledger.write() as first,
    ):
        await lock_user(first, "ann")
        with pytest.raises(LedgerUnavailable, match="canceling statement due to lock timeout"):
            async with other.write() as second:
                await lock_user(second, "ann")


@pytest.mark.on_postgresql
async def test_a_transaction_that_its_process_forgot_does_not_keep_its_locks(world: World, other: World) -> None:
    async def forget() -> None:
        async with world.ledger.write() as connection:
            await lock_user(connection, "ann")
            await connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
            await other.move("ann", "1", "SOL", at("2026-10-01"))

    with pytest.raises(LedgerUnavailable, match="idle-in-transaction timeout"):
        await forget()

    assert await other.balances("ann") == {"SOL": 1_00000000}


async def test_a_writer_who_waits_too_long_behind_its_own_process_gets_a_sentence(tmp_path: Path) -> None:
    async with a_new_ledger(databases.url_in(tmp_path), patience=IMPATIENT) as ledger:
        async with ledger.write():
            with pytest.raises(LedgerUnavailable, match="busy: too many writers"):
                async with ledger.write():
                    pass
        async with ledger.write():
            pass


async def test_a_ledger_opens_for_reading_while_another_process_writes(world: World, tmp_path: Path) -> None:
    async with (
        world.ledger.write(),
        open_ledger(f"sqlite:///{tmp_path}/ledger.db") as other,
        other.read() as connection,
    ):
        assert await connection.scalar(text("SELECT count(*) FROM program_versions")) == 1


@pytest.mark.on_both_databases
async def test_readers_do_not_wait_for_a_writer(world: World, other: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    async with world.ledger.write():
        assert await other.balances("ann") == {"SOL": 12_00000000}


@pytest.mark.on_both_databases
async def test_more_readers_than_connections_wait_their_turn(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    assert await asyncio.gather(*(world.balances("ann") for _ in range(100))) == [{"SOL": 12_00000000}] * 100


async def test_a_ledger_with_every_connection_in_use_is_one_sentence(tmp_path: Path) -> None:
    url = databases.url_in(tmp_path)
    async with a_new_ledger(url, patience=IMPATIENT) as ledger, AsyncExitStack() as readers:

        async def take_them_all() -> None:
            for _ in range(1000):
                await readers.enter_async_context(ledger.read())

        with pytest.raises(LedgerUnavailable, match=r"every connection to the ledger .* is in use"):
            await take_them_all()


async def test_a_new_ledger_that_many_make_at_the_same_time_is_made_once(tmp_path: Path) -> None:
    async def opened() -> None:
        async with a_new_ledger(databases.url_in(tmp_path)) as ledger, ledger.read() as connection:
            assert (await connection.exec_driver_sql("SELECT count(*) FROM users")).scalar_one() == 0

    await asyncio.gather(*(opened() for _ in range(8)))


@pytest.mark.on_both_databases
async def test_an_exception_rolls_everything_back(world: World) -> None:
    before = await world.everything()

    async def fail_half_way() -> None:
        async with world.ledger.write() as connection:
            await connection.exec_driver_sql(
                "INSERT INTO users (user_id, closed_through, latest_effective_at) VALUES ('bob', 0, 0)"
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_half_way()

    assert await world.everything() == before


async def test_a_commit_survives_a_power_cut(world: World) -> None:
    async with world.ledger.read() as connection:
        pragmas = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.on_both_databases
async def test_a_refusal_of_the_database_is_distinguished_from_a_database_that_is_away(world: World) -> None:
    with pytest.raises(IntegrityError):
        await world.sql("INSERT INTO users (user_id, closed_through, latest_effective_at) VALUES ('ann', NULL, 0)")


@pytest.mark.on_postgresql
async def test_a_session_waits_for_less_long_than_a_step_may_take(world: World) -> None:
    timeouts: list[str] = []
    async with world.ledger.write() as connection:
        for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            timeouts.append((await connection.exec_driver_sql(f"SHOW {name}")).scalar_one())
    assert timeouts == ["4s", "6s", "8s"]


@pytest.mark.on_postgresql
async def test_writers_read_what_is_committed_and_readers_see_one_instant(world: World) -> None:
    for transaction, level in ((world.ledger.write(), "read committed"), (world.ledger.read(), "repeatable read")):
        async with transaction as connection:
            assert (await connection.exec_driver_sql("SHOW transaction_isolation")).scalar_one() == level


@pytest.mark.on_postgresql
async def test_a_password_is_in_no_sentence(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable) as unavailable:
        async with open_ledger("postgresql://ann:geheim@127.0.0.1:1/ledger"):
            pass
    assert "geheim" not in str(unavailable.value)
    assert "postgresql://ann:***@127.0.0.1:1/ledger" in str(unavailable.value)


async def test_a_ledger_names_its_database_as_a_person_writes_it(world: World, tmp_path: Path) -> None:
    assert world.ledger.where == f"sqlite:///{tmp_path}/ledger.db"
