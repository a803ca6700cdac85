"""Pages and APIs show every asset code as it is, and accept it as it is."""

import csv
import io
from collections.abc import AsyncGenerator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from asset_codes import CODES, DAYS, with_all
from visitor import a_site, a_visitor, page_of, tags_of
from web_api import NOW, a_web, make_program, make_token
from world import World, a_world_after

from ledger.service_tokens import Scope


async def _paid(world: World) -> None:
    await with_all(world)


@pytest.fixture
async def paid(tmp_path: Path) -> AsyncGenerator[World]:
    async with a_world_after(tmp_path, _paid) as world:
        yield world


@pytest.mark.parametrize("path", ["/", "/soft-staking", "/soft-staking/activate"])
async def test_a_page_shows_every_code_and_none_is_markup(paid: World, path: str) -> None:
    user = "ann" if path != "/soft-staking/activate" else "bob"
    page = await page_of(paid, user, path)
    assert page.status == 200
    if path != "/soft-staking/activate":
        assert all(code in unescape(page.html) for code in CODES)
    assert "b" not in {tag for tag, _ in tags_of(page.html)}


async def test_a_history_is_filtered_by_any_code(paid: World) -> None:
    for code in CODES:
        page = await page_of(paid, "ann", f"/soft-staking?asset={quote(code, safe='')}")
        assert len(page.lines()) == len(DAYS), code
        assert all(code in line for line in page.lines())


async def test_the_csv_has_every_code_as_it_is(paid: World) -> None:
    async with a_visitor(await a_site(paid, NOW), "ann") as ann:
        text = (await ann.get("/soft-staking/rewards.csv")).html
    rows = csv.DictReader(io.StringIO(text, newline=""))
    assert {row["asset"] for row in rows if row["outcome"] == "earned"} == set(CODES)


async def test_programs_and_services_get_and_send_every_code(paid: World, tmp_path: Path) -> None:
    web = await a_web(paid, tmp_path)
    program = await make_program(web.world, web.settings)
    for code in CODES:
        (row,) = (await web.ask(program, "/list", {"asset": code}))["rows"]
        assert row["asset"] == code
        assert len((await web.ask(program, "/history/rewardsRecord", {"asset": code}))["rows"]) == len(DAYS)
    service = await make_token(web.world, Scope.READ)
    rewards = (await web.get("/v1/accounts/ann/soft-staking/rewards", service)).json()["rewards"]
    assert {line["asset"] for line in rewards if line["outcome"] == "earned"} == set(CODES)
