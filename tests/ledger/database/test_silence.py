"""A connection that never answers is lost, and nothing else: no day, no second payment, no other request."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import databases
import pytest
from silent_proxy import Silence, SilentProxy, silent_proxy
from sqlalchemy import event
from world import LONG_AGO, World, at, day, units

from ledger.database.engine import open_ledger
from ledger.database.patience import Patience
from ledger.errors import InsufficientBalance, LedgerUnavailable
from ledger.reading.plain import positions_asked
from staking.models import Rewards

pytestmark = pytest.mark.on_postgresql

PATIENT = Patience(turn_s=60, statement_s=60, idle_s=60)
"""A slow machine is not silent, so only silent connections are given up soon; see ``behind``."""
BEGINNING, LOCK, POSTING, COMMIT = "BEGIN", "FOR NO KEY UPDATE", "INSERT INTO postings", "COMMIT\0"
FIRST, SECOND = day("2026-10-01"), day("2026-10-02")
REWARD = 26301
"""The reward of a day for 12 SOL, in units."""
_Answer = TypeVar("_Answer")


@asynccontextmanager
async def behind(
    proxy: SilentProxy, patience: Patience = PATIENT, *, is_patient: bool = False
) -> AsyncGenerator[World]:
    """The world's ledger, reached through the proxy. Unless it is patient, it gives a request up as soon as the
    proxy falls silent."""
    asking: list[Any] = []

    def note(connection: Any, *_: object) -> None:
        asking.append(connection.driver_connection)

    def give_up() -> None:
        for connection in asking:
            connection.answer_s = 0

    async with open_ledger(proxy.url, clock=lambda: LONG_AGO, patience=patience) as ledger:
        event.listen(ledger._engine.sync_engine, "checkout", note)
        if not is_patient:
            proxy.on_silence = give_up
        yield World(ledger, first_key=2_000_000)


@pytest.fixture
async def proxy(world: World, tmp_path: Path) -> AsyncGenerator[SilentProxy]:
    async with silent_proxy(databases.url_in(tmp_path)) as made:
        yield made


async def asked_until_answered(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Asks as Temporal does: again and again, until the ledger is back."""
    for _ in range(100):
        try:
            return await ask()
        except LedgerUnavailable:
            pass
    raise AssertionError("the ledger stays away")


async def owed(world: World, *users: str) -> dict[str, Rewards]:
    """Makes users to whom the second day is owed."""
    for user in users:
        await world.move(user, "12", "SOL", at("2026-10-01 10:00"))
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.snapshot(user, FIRST)
    return {user: await world.compute(await world.snapshot(user, SECOND)) for user in users}


async def kept_connections(world: World, how_many: int) -> None:
    """Afterwards this many connections wait in the ledger's connection pool."""
    async with AsyncExitStack() as stack:
        for _ in range(how_many):
            await stack.enter_async_context(world.ledger.read())


@pytest.mark.parametrize("silence", Silence, ids=lambda silence: silence.name.lower())
@pytest.mark.parametrize(
    ("words", "delivers"),
    [(BEGINNING, False), (BEGINNING, True), (LOCK, True), (POSTING, False), (COMMIT, False), (COMMIT, True)],
    ids=["begin", "begun", "locked", "posting", "commit", "committed"],
)
async def test_a_day_is_paid_once_wherever_the_connection_falls_silent(
    world: World, proxy: SilentProxy, words: str, delivers: bool, silence: Silence
) -> None:
    rewards = await owed(world, "ann")
    proxy.silence = silence
    async with behind(proxy, replace(PATIENT, idle_s=1)) as far:
        await kept_connections(far, 1)
        proxy.fall_silent_at(words, delivers=delivers)
        await asked_until_answered(lambda: far.credit("ann", rewards["ann"]))

    assert proxy.silenced.is_set()
    assert await world.balances("ann") == {"SOL": units("12") + REWARD}
    assert (await world.audit(at("2026-10-03"))).is_clean


async def test_a_commit_that_is_not_answered_is_reported_as_unknown_and_not_run_again(
    world: World, proxy: SilentProxy
) -> None:
    async with behind(proxy) as far:
        proxy.fall_silent_at(COMMIT, delivers=True)
        with pytest.raises(LedgerUnavailable, match="may have been recorded all the same"):
            await far.move("ann", "12", "SOL", at("2026-10-01"), key="deposit")
        assert await world.balances("ann") == {"SOL": units("12")}

        await far.move("ann", "12", "SOL", at("2026-10-01"), key="deposit")
    assert await world.balances("ann") == {"SOL": units("12")}


async def test_what_was_read_is_answered_though_the_end_of_its_transaction_is_not(
    world: World, proxy: SilentProxy
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    async with behind(proxy) as far:
        proxy.fall_silent_at(COMMIT)
        assert await far.balances("ann") == {"SOL": units("12")}
    assert proxy.silenced.is_set()


async def test_what_is_not_answered_in_one_go_is_answered_by_a_transaction_on_another_connection(
    world: World, proxy: SilentProxy, tmp_path: Path
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    async with behind(proxy) as far:
        asked = positions_asked(["ann"], at("2026-10-02"))
        assert await far.ledger.read_in_one_go(*asked) is not None
        proxy.fall_silent_at(BEGINNING)
        assert await far.ledger.read_in_one_go(*asked) is None
        assert proxy.silenced.is_set()
        assert await far.balances("ann") == {"SOL": units("12")}

        assert await far.ledger.read_in_one_go(*asked) is not None
        databases.cut_connections(tmp_path)
        assert await far.ledger.read_in_one_go(*asked) is None
        assert await far.balances("ann") == {"SOL": units("12")}
        assert await far.ledger.read_in_one_go(*asked) is not None


async def test_a_refusal_stands_though_its_rollback_is_not_answered(
    world: World, proxy: SilentProxy, tmp_path: Path
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    async with behind(proxy) as far:
        proxy.fall_silent_at("ROLLBACK")
        with pytest.raises(InsufficientBalance):
            await far.move("ann", "-13", "SOL", at("2026-10-02"))
        assert proxy.silenced.is_set()
        databases.cut_connections(tmp_path)  # The server does not know that the transaction has ended.
        await far.move("ann", "-12", "SOL", at("2026-10-02"))
    assert await world.balances("ann") == {"SOL": 0}


async def test_every_request_is_answered_though_all_kept_connections_are_silent(
    world: World, proxy: SilentProxy
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    async with behind(proxy, replace(PATIENT, turn_s=2)) as far:
        await asked_until_answered(lambda: kept_connections(far, 8))
        proxy.fall_silent()
        answers = await asyncio.gather(
            *(asked_until_answered(lambda: far.balances("ann")) for _ in range(20)),
            *(
                asked_until_answered(lambda key=key: far.move("ann", "1", "SOL", at("2026-10-02"), key=key))
                for key in ("one", "two")
            ),
        )
    assert len(answers) == 22
    assert await world.balances("ann") == {"SOL": units("14")}


async def test_a_silent_batch_is_given_up_and_those_behind_it_are_answered(
    world: World, proxy: SilentProxy
) -> None:
    users = [f"user{number}" for number in range(10)]
    rewards = await owed(world, *users)
    async with behind(proxy, replace(PATIENT, idle_s=1)) as far:
        proxy.fall_silent_at(POSTING)
        first, *others = [
            asyncio.ensure_future(asked_until_answered(lambda user=user: far.credit(user, rewards[user])))
            for user in users
        ]
        await proxy.silenced.wait()
        first.cancel()
        await asyncio.gather(*others)
        await asked_until_answered(lambda: far.credit(users[0], rewards[users[0]]))
    assert [await world.balances(user) for user in users] == [{"SOL": units("12") + REWARD}] * len(users)


async def test_a_cancelled_request_does_not_wait_for_a_silent_connection(world: World, proxy: SilentProxy) -> None:
    async with behind(proxy, is_patient=True) as far:
        proxy.fall_silent_at(LOCK)
        moving = asyncio.ensure_future(far.move("ann", "12", "SOL", at("2026-10-01")))
        await proxy.silenced.wait()
        connected = proxy.connections
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
    assert (
        proxy.connections == connected
    )  # No cancellation was sent, since its answer would have to be waited for.


async def test_a_ledger_is_closed_though_a_batch_is_silent(world: World, proxy: SilentProxy) -> None:
    rewards = await owed(world, "ann")
    async with behind(proxy, replace(PATIENT, batch_s=60, close_s=0), is_patient=True) as far:
        await kept_connections(far, 1)
        proxy.fall_silent_at(BEGINNING)
        crediting = asyncio.ensure_future(far.credit("ann", rewards["ann"]))
        await proxy.silenced.wait()

    with pytest.raises(LedgerUnavailable, match="is being closed"):
        await crediting


async def test_a_database_that_does_not_answer_a_new_connection_is_named_as_the_problem(
    world: World, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody_accepts:
        port = nobody_accepts.getsockname()[1]
        with pytest.raises(LedgerUnavailable, match="timeout"):
            async with open_ledger(f"postgresql://ann@127.0.0.1:{port}/ledger", patience=Patience(turn_s=2)):
                pass


async def test_a_batch_without_any_answer_is_given_up_by_its_queue(world: World, proxy: SilentProxy) -> None:
    rewards = await owed(world, "ann")
    async with behind(proxy, replace(PATIENT, batch_s=1), is_patient=True) as far:
        proxy.fall_silent_at(LOCK)
        with pytest.raises(LedgerUnavailable, match="has not answered within 1 s"):
            await far.credit("ann", rewards["ann"])
        assert far.ledger.oldest_request_s() == 0


async def test_an_audit_may_take_longer_than_any_other_statement(world: World) -> None:
    limits: list[tuple[str, float]] = []
    for takes_long in (False, True):
        async with world.ledger.read(takes_long=takes_long) as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            server_s = (await connection.exec_driver_sql("SHOW statement_timeout")).scalar_one()
            limits.append((server_s, driver.answer_s))
    assert limits == [("6s", 7), ("6h", 6 * 3600 + 1)]


async def test_only_what_reads_and_takes_long_may_compute_for_long_within_its_transaction(world: World) -> None:
    limits: list[str] = []
    asked = "SHOW idle_in_transaction_session_timeout"
    for takes_long in (False, True):
        async with world.ledger.read(takes_long=takes_long) as connection:
            limits.append((await connection.exec_driver_sql(asked)).scalar_one())
    async with world.ledger.write(takes_long=True) as connection:
        limits.append((await connection.exec_driver_sql(asked)).scalar_one())
    assert limits == ["8s", "10min", "8s"]


async def test_no_request_is_refused_because_a_restart_of_the_database_ended_connections(
    world: World, tmp_path: Path
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await kept_connections(world, 8)
    databases.cut_connections(tmp_path)

    assert await asyncio.gather(
        *(world.balances("ann") for _ in range(8)), world.move("bob", "1", "SOL", at("2026-10-01"), key="bob's")
    )
    assert await world.balances("bob") == {"SOL": units("1")}
