"""Somebody with a real browser, who notices what no visitor should see: errors, other hosts, things that move."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from fastapi import FastAPI
from playwright.async_api import Browser, Page, expect

from settings import LOOPBACK
from web.server import serving

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
ZONE = "Europe/Paris"
_SHIFTS = """
() => new Promise((resolve) => {
  const moved = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      for (const { node, previousRect, currentRect } of entry.sources) {
        const place = (rect) => [rect.x, rect.y, rect.width, rect.height].map(Math.round).join(" ");
        const what = (node?.outerHTML ?? node?.textContent ?? "").trim().slice(0, 80);
        moved.push(`${what} from ${place(previousRect)} to ${place(currentRect)}`);
      }
    }
  }).observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(moved)));
})
"""


class Reader:
    """A tab of a browser, at the address of the pages."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.context.on("request", lambda request: self.hosts.add("/".join(request.url.split("/")[:3])))

    async def goes_to(self, path: str) -> None:
        await self.page.goto(self.address + path)

    async def chooses(self, user: str, region: str = "FR") -> None:
        """Picks a person on the demonstration's page."""
        await self.goes_to("/people")
        await self.page.get_by_label("User id").fill(user)
        await self.page.get_by_label("Lives in").fill(region)
        await self.page.get_by_role("button", name="Look in", exact=True).click()
        await expect(self.page.get_by_role("heading", level=1)).to_have_text("Spot assets")

    async def heading_is(self, text: str) -> None:
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(text)

    async def sees_nothing_move(self) -> None:
        """Tests that there were no errors while the page came, and none since."""
        moved = await self.page.evaluate(_SHIFTS)
        assert not moved, "\n".join(moved)

    async def finds_nothing_to_complain_of(self, name: str = "") -> None:
        """Tests that the page is accessible as far as axe sees, fits the window, does not move, and loads nothing
        from other hosts."""
        found: dict[str, Any] = (await Axe().run(self.page)).response
        violations = {
            f"{each['id']}: {each['help']}": [node["html"] for node in each["nodes"]]
            for each in found["violations"]
        }
        assert violations == {}
        assert await self.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        await self.sees_nothing_move()
        assert self.complaints == []
        assert self.hosts == {self.address}
        await self.keeps_a_picture(name)

    async def keeps_a_picture(self, name: str) -> None:
        """Saves a picture for a person to look at, if a folder is named for it."""
        if (folder := os.environ.get("SCREENSHOTS")) and name:
            await self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@asynccontextmanager
async def a_reader(browser: Browser, site: FastAPI, **options: Any) -> AsyncGenerator[Reader]:
    """A new browser without cookies, and a site that is served for it."""
    async with serving(site, host=LOOPBACK, port=0) as address:
        context = await browser.new_context(**{"viewport": DESKTOP, "timezone_id": ZONE} | options)
        try:
            context.set_default_timeout(180_000)
            yield Reader(await context.new_page(), address)
        finally:
            await context.close()
