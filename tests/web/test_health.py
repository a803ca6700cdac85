"""/livez and /readyz: what they say, to whom they say it, and what they keep to themselves."""

from pathlib import Path

import databases
import httpx
import pytest
from fastapi import FastAPI
from servers import full_server
from temporalio.client import Client
from world import World

from ledger.engine import open_ledger
from web.health import Health
from web.probes import health_app


async def asked(app: FastAPI, path: str) -> tuple[int, list[str]]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://10.1.2.3") as client:
        answer = await client.get(path)
    assert answer.json()["ok"] is (answer.status_code == 200)
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()["problems"]


async def test_ready_is_only_who_has_temporal_and_whom_nothing_else_keeps_from_work(world: World) -> None:
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
async def test_ready_is_only_who_has_a_ledger_of_its_own_schema_version(world: World, tmp_path: Path) -> None:
    async with full_server() as client:
        databases.raw(tmp_path, "UPDATE alembic_version SET version_num = '99'")
        app = health_app(Health(world.ledger, client))
        assert await asked(app, "/readyz") == (
            503,
            ["the ledger has another schema version than this program"],
        )


@pytest.mark.on_postgresql
async def test_ready_is_only_whom_the_ledger_answers(world: World, tmp_path: Path) -> None:
    async with full_server() as client, open_ledger(databases.url_in(tmp_path)) as ledger:
        databases.forget(tmp_path)
        app = health_app(Health(ledger, client))
        assert await asked(app, "/readyz") == (503, ["the ledger does not answer"])


async def test_a_process_that_only_a_new_start_will_mend_is_not_live(world: World) -> None:
    lazy = await Client.connect("127.0.0.1:1", lazy=True)
    app = health_app(Health(world.ledger, lazy, not_live=lambda: ["worker process 1 has not reported for 31 s"]))
    assert await asked(app, "/livez") == (503, ["worker process 1 has not reported for 31 s"])
