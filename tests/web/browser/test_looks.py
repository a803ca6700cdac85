"""Every page is accessible, fits the window, does not move, and loads nothing from other hosts, in light and
dark."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from reader import DESKTOP, PHONE, a_reader
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from visitor import a_site
from world import World, a_world_after, at, day

from ledger.corrections import reverse
from staking.days import ONE_DAY

NOW = at("2026-10-05 10:00")
_OPEN_SOME = "for (const each of [...document.querySelectorAll('details')].slice(0, 5)) each.open = true"
"""A page with the table of the chart, and with lines of the history, one of them reversed."""
PIECE_BYTES, PIECES, PIECE_SECONDS = 256, 40, 0.02
"""The beginning of a page on a slow line: it arrives in pieces, and a browser has time to paint in between."""
PAGES = {
    "spot-no-tag": ("zoe", "/"),
    "spot-grey": ("bob", "/"),
    "spot-yellow": ("ann", "/"),
    "activate": ("bob", "/soft-staking/activate"),
    "started": ("kim", "/soft-staking/started"),
    "day-1": ("kim", "/soft-staking"),
    "soft-staking": ("ann", "/soft-staking"),
    "history-filtered": ("ann", "/soft-staking?asset=ADA&outcome=below_minimum&from=bad"),
    "stop": ("ann", "/soft-staking/stop"),
    "stopped": ("joe", "/soft-staking"),
    "delayed": ("lia", "/soft-staking"),
    "document": ("bob", "/documents/soft_staking_terms"),
    "time-zone": ("bob", "/time-zone"),
    "people": ("bob", "/people"),
}


async def _people(world: World) -> None:
    """Users at every stage, and ann with rewards of 33 days, which are late, capped, reversed and below the
    minimum."""
    await world.move("zoe", "0.4", "SOL", at("2026-09-01"))
    for user in ("ann", "bob", "kim", "joe", "lia"):
        await world.move(user, "14.25", "SOL", at("2026-08-01"))
        await world.move(user, "1840.25", "USDT", at("2026-08-01"))
        await world.move(user, "120", "ADA", at("2026-08-01"))
    await world.move("ann", "12000000", "ALGO", at("2026-08-01"))
    await world.enrol("kim", at("2026-10-05 09:30"))
    await world.enrol("joe", at("2026-10-01 09:30"))
    await world.enrol("lia", at("2026-10-01 09:30"))
    await world.enrol("ann", at("2026-09-01 09:30"))
    await world.snapshot("joe", day("2026-10-01"))
    await world.pay("joe", day("2026-10-02"))
    await world.end("joe", at("2026-10-03 12:00"))
    await world.snapshot("ann", day("2026-09-01"))
    for number in range(33):
        accrual_day = day("2026-09-02") + number * ONE_DAY
        snapshot = await world.snapshot("ann", accrual_day)
        hour = 9 if number == 31 else 1
        await world.credit(
            "ann", await world.compute(snapshot), now=at(f"{accrual_day + ONE_DAY}") + timedelta(hours=hour)
        )
    (entry,) = {line.entry_id for line in await world.statement("ann") if line.day == day("2026-10-03")}
    assert entry
    await reverse(world.ledger, entry, reason="an error", operator="ann", now=NOW)


@pytest.fixture
async def people(tmp_path: Path) -> AsyncGenerator[World]:
    async with a_world_after(tmp_path, _people) as world:
        yield world


@pytest.mark.parametrize(("width", "scheme"), [("phone", "dark"), ("desktop", "light")])
async def test_every_page_is_accessible_fits_and_stands_still(
    people: World, browser: Browser, width: str, scheme: str
) -> None:
    site = await a_site(people, NOW, is_development=True)
    viewport = PHONE if width == "phone" else DESKTOP
    async with a_reader(browser, site, viewport=viewport, color_scheme=scheme) as reader:
        user = ""
        for name, (whose, path) in PAGES.items():
            if whose != user:
                await reader.chooses(whose)
                user = whose
            await reader.goes_to(path)
            await reader.page.evaluate(_OPEN_SOME)
            await reader.finds_nothing_to_complain_of(f"{name}-{width}-{scheme}")


class SlowLine:
    """A middleware that sends a page piece by piece, and its style sheet immediately."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_pieces(message: Message) -> None:
            body = message.get("body", b"")
            for _ in range(PIECES):
                if len(body) > PIECE_BYTES:
                    await send({"type": message["type"], "body": body[:PIECE_BYTES], "more_body": True})
                    await asyncio.sleep(PIECE_SECONDS)
                    body = body[PIECE_BYTES:]
            await send(message | {"body": body} if body else message)

        is_static = scope["type"] == "http" and scope["path"].startswith("/static/")
        await self._app(scope, receive, send if is_static else send_in_pieces)


@pytest.mark.parametrize("path", ["/", "/soft-staking"])
async def test_nothing_moves_while_a_page_arrives_piece_by_piece(
    people: World, browser: Browser, path: str
) -> None:
    site = await a_site(people, NOW, gateway_peers="127.0.0.1")
    site.add_middleware(SlowLine)
    headers = {"X-User-Id": "ann", "X-User-Region": "FR"}
    async with a_reader(browser, site, viewport=PHONE, extra_http_headers=headers) as reader:
        await reader.goes_to(path)
        await reader.sees_nothing_move()


async def test_times_come_in_the_readers_zone_on_the_first_page_and_nothing_moves(
    people: World, browser: Browser
) -> None:
    site = await a_site(people, NOW, gateway_peers="127.0.0.1")
    headers = {"X-User-Id": "kim", "X-User-Region": "FR"}
    async with a_reader(browser, site, extra_http_headers=headers) as reader:
        page = reader.page
        await reader.goes_to("/soft-staking/started")
        await expect(page.get_by_text("5 Oct 2026, 11:30 Europe/Paris")).to_be_visible()
        await expect(page.get_by_text("7 Oct 2026, 02:00 – 10:00 Europe/Paris")).to_be_visible()
        await expect(page.get_by_text("Times are shown in UTC and Europe/Paris")).to_be_visible()
        await reader.finds_nothing_to_complain_of()
        by_script = await page.locator("main").inner_text()
        await page.reload()
        assert await page.locator("main").inner_text() == by_script
        names = {cookie.get("name") for cookie in await page.context.cookies()}
        assert names == {"__Host-soft-staking-session", "time_zone"}
        assert await page.evaluate("document.cookie") == "time_zone=Europe/Paris"


async def test_without_script_everything_is_there_too(people: World, browser: Browser) -> None:
    site = await a_site(people, NOW, is_development=True)
    async with a_reader(browser, site, java_script_enabled=False) as reader:
        page = reader.page
        await reader.chooses("ann")
        await reader.goes_to("/soft-staking")
        await page.get_by_label("Asset", exact=True).select_option("SOL")
        await page.get_by_label("From", exact=True).fill("2026-09-20")
        await page.get_by_label("To", exact=True).fill("2026-09-21")
        await page.get_by_role("button", name="Filter").click()
        lines = page.locator(".history details")
        await expect(lines).to_have_count(2)
        await lines.first.locator("summary").click()
        await expect(lines.first.get_by_text("Rounded down to 8 decimals")).to_be_visible()
        await page.get_by_text("Show as a table").click()
        await expect(page.get_by_role("region", name="Daily rewards as a table")).to_be_visible()
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download CSV").click()
        file = await (await download.value).path()
        text = await asyncio.to_thread(Path(file).read_text)
        assert [row.split(",")[0] for row in text.splitlines()] == ["day", "2026-09-20", "2026-09-21"]
        await page.get_by_role("link", name="Change time zone").click()
        await page.get_by_label("Zone").select_option("Asia/Tokyo")
        await page.get_by_role("button", name="Show times in this zone").click()
        await expect(page.get_by_text("5 Oct 2026, 19:00 Asia/Tokyo")).to_be_visible()


async def test_the_browser_refuses_what_a_page_must_not_do(people: World, browser: Browser) -> None:
    site = await a_site(people, NOW, is_development=True)
    async with a_reader(browser, site) as reader:
        page = reader.page
        await reader.chooses("ann")
        assert await page.evaluate("document.cookie") == f"time_zone={'Europe/Paris'}"
        await page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.wasRun = true";
                document.body.append(script);
                document.body.setAttribute("style", "margin: 1000px");
            }"""
        )
        assert await page.evaluate("window.wasRun") is None
        assert await page.evaluate("getComputedStyle(document.body).margin") == "0px"
        assert len([complaint for complaint in reader.complaints if "Content Security Policy" in complaint]) >= 2
        async with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
            await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<iframe src=/></iframe>')")
