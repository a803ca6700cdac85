"""A machine whose clock is wrong writes nothing, since what it recorded would count from a day that has not
come."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import databases
import httpx
import pytest
from servers import full_server
from temporalio.common import MetricMeter
from world import World, at

from ledger.database.clocks import problem_of
from ledger.database.engine import Ledger, open_ledger
from ledger.errors import ClockIsWrong
from ledger.pools import fund_pool
from running.installation import opened_ledger
from settings import Settings
from telemetry.ledger_metrics import LedgerMetrics
from web.health import Health
from web.probes import health_app

NOON = at("2026-10-01 12:00")
on_postgresql = pytest.mark.on_postgresql


@pytest.mark.parametrize(
    ("database_s", "is_a_problem"),
    [
        (NOON, False),
        (NOON - timedelta(seconds=5), False),
        (NOON - timedelta(seconds=5, microseconds=1), True),
        (NOON - timedelta(hours=26), True),
        (NOON + timedelta(minutes=10, seconds=5), False),
        (NOON + timedelta(minutes=10, seconds=5, microseconds=1), True),
        (NOON + timedelta(minutes=5), False),
    ],
)
def test_clocks_differ_by_what_the_time_of_the_message_does_not_explain(
    database_s: object, is_a_problem: bool
) -> None:
    after = NOON + timedelta(minutes=10)
    assert (problem_of(NOON, database_s, after) is not None) is is_a_problem


def set_back_the_database_s_clock(folder: Path) -> None:
    """Sets the database's clock 26 hours back for connections that are made from now on."""
    databases.raw(
        folder,
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
        " AS $$ SELECT pg_catalog.clock_timestamp() - interval '26 hours' $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());"
        " END $$",
    )


@pytest.fixture
async def ahead(world: World, tmp_path: Path) -> AsyncGenerator[Ledger]:
    """The world's ledger on a machine whose clock is 26 hours ahead."""
    set_back_the_database_s_clock(tmp_path)
    async with open_ledger(databases.url_in(tmp_path)) as ledger:
        yield ledger


@on_postgresql
async def test_a_machine_whose_clock_is_ahead_writes_nothing_and_says_both(world: World, ahead: Ledger) -> None:
    before = await world.everything()

    with pytest.raises(ClockIsWrong, match=r"this machine says .* UTC and that of the ledger's database .* UTC"):
        await fund_pool(ahead, "SOL", 1, operator="tests", now=NOON)

    assert await world.everything() == before


@on_postgresql
async def test_a_machine_whose_clock_is_ahead_reads(world: World, ahead: Ledger) -> None:
    await world.move("ann", "12", "SOL", NOON)
    assert await World(ahead).balances("ann") == await world.balances("ann")


@on_postgresql
async def test_a_machine_whose_clock_is_set_right_writes_again(ahead: Ledger, tmp_path: Path) -> None:
    with pytest.raises(ClockIsWrong):
        ahead.check_clock()
    databases.raw(tmp_path, "DROP FUNCTION public.clock_timestamp()")
    await fund_pool(ahead, "SOL", 1, operator="tests", now=NOON)
    ahead.check_clock()


@on_postgresql
async def test_a_process_with_a_wrong_clock_is_not_ready(ahead: Ledger) -> None:
    async with full_server() as client:
        transport = httpx.ASGITransport(health_app(Health(ahead, client)))
        async with httpx.AsyncClient(transport=transport, base_url="http://10.1.2.3") as asking:
            answer = await asking.get("/readyz")
    assert answer.status_code == 503
    assert "the clock of this machine says" in answer.json()["problems"][0]


@on_postgresql
async def test_a_worker_with_a_wrong_clock_does_not_start(ahead: Ledger, tmp_path: Path) -> None:
    settings = Settings(database_url=databases.url_in(tmp_path))
    with pytest.raises(ClockIsWrong):
        async with opened_ledger(settings, LedgerMetrics(MetricMeter.noop)):
            pass


@on_postgresql
async def test_a_clock_that_is_passed_in_is_not_compared(world: World, tmp_path: Path) -> None:
    set_back_the_database_s_clock(tmp_path)
    async with open_ledger(databases.url_in(tmp_path), clock=lambda: NOON) as ledger:
        await fund_pool(ledger, "SOL", 1, operator="tests", now=NOON)
