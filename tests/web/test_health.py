"""/livez and /readyz: what they answer, and what they do not reveal."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import databases
import httpx
import pytest
from fastapi import FastAPI
from servers import full_server
from temporalio.client import Client
from world import World, day, paused_before

from ledger.database.engine import open_ledger
from ledger.errors import NotEnrolled
from web.health import Health
from web.probes import health_app


async def asked(app: FastAPI, path: str) -> tuple[int, list[str]]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://10.1.2.3") as client:
        answer = await client.get(path)
    assert answer.json()["ok"] is (answer.status_code == 200)
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()["problems"]


async def test_a_process_is_ready_only_if_temporal_answers_and_nothing_else_keeps_it_from_work(
    world: World,
) -> None:
    async with full_server() as client:
        problems: list[str] = []
        app = health_app(Health(world.ledger, client, not_ready=lambda: problems))
        assert await asked(app, "/readyz") == (200, [])
        problems.append("stopping")
        assert await asked(app, "/readyz") == (503, ["stopping"])
    app = health_app(Health(world.ledger, client))
    assert await asked(app, "/readyz") == (503, ["Temporal does not answer"])
    assert await asked(app, "/livez") == (200, [])


@pytest.mark.on_both_databases
async def test_a_process_is_ready_only_with_a_ledger_of_its_own_schema_version(
    world: World, tmp_path: Path
) -> None:
    async with full_server() as client:
        databases.raw(tmp_path, "UPDATE alembic_version SET version_num = '99'")
        app = health_app(Health(world.ledger, client))
        assert await asked(app, "/readyz") == (
            503,
            ["the ledger has another schema version than this program"],
        )


@pytest.mark.on_postgresql
async def test_a_process_is_ready_only_if_the_ledger_answers(world: World, tmp_path: Path) -> None:
    async with full_server() as client, open_ledger(databases.url_in(tmp_path)) as ledger:
        databases.forget(tmp_path)
        app = health_app(Health(ledger, client))
        assert await asked(app, "/readyz") == (503, ["the ledger does not answer"])


async def test_requests_that_wait_for_the_ledger_for_too_long_are_reported(world: World) -> None:
    async with full_server() as client:
        pause = paused_before(world.ledger, "SELECT")
        closing = asyncio.ensure_future(world.snapshot("ann", day("2026-10-01")))
        await pause.reached.wait()

        for limits, path in (({"stands_still_after_s": 0}, "/readyz"), ({"beyond_help_after_s": 0}, "/livez")):
            app = health_app(Health(world.ledger, client, **limits))
            assert await asked(app, path) == (503, ["requests to the ledger have waited for more than 0 s"])

        pause.resume.set()
        with pytest.raises(NotEnrolled):
            await closing
        assert await asked(health_app(Health(world.ledger, client, stands_still_after_s=0)), "/readyz") == (
            200,
            [],
        )


async def test_a_ledger_whose_connections_are_all_in_use_is_not_ready(world: World) -> None:
    async with full_server() as client, AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(world.ledger.read())
        app = health_app(Health(world.ledger, client))
        assert await asked(app, "/readyz") == (503, ["the ledger does not answer"])


async def test_a_process_that_only_a_new_start_will_mend_is_not_live(world: World) -> None:
    lazy = await Client.connect("127.0.0.1:1", lazy=True)
    app = health_app(Health(world.ledger, lazy, not_live=lambda: ["worker process 1 has not reported for 31 s"]))
    assert await asked(app, "/livez") == (503, ["worker process 1 has not reported for 31 s"])
