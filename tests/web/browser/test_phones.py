"""Every page fits a phone at every stage, with amounts and names as long as they can be, and nothing is cut."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from playwright.async_api import Browser
from reader import Reader, a_reader
from stages import LONGEST_DOCUMENT, NOW, STAGES, every_stage_at_its_longest, longest_id
from visitor import a_site
from world import World, a_world_after

WIDTHS = (320, 360, 390, 641, 861)
"""The widths of phones, and the widths at which the layout changes to a wider one."""
LONGEST_ZONE = "America/Argentina/ComodRivadavia"
PAGES_OF_A_STAGE = ("/", "/soft-staking", "/soft-staking/activate", "/soft-staking/started", "/soft-staking/stop")
OTHER_PAGES = (f"/documents/{LONGEST_DOCUMENT}", "/documents/risk_warning", "/time-zone", "/people", "/nowhere")
_OPEN_SOME = "for (const each of [...document.querySelectorAll('details')].slice(0, 3)) each.open = true"
_WIDER_THAN_ITS_PLACE = """
() => {
  const found = [];
  const page = document.scrollingElement;
  if (page.scrollWidth > innerWidth) found.push(`the page: ${page.scrollWidth} in ${innerWidth}`);
  for (const each of document.querySelectorAll("main *, header *, footer *")) {
    // A line that is pointed at is wider than the list by 8 pixels; and between steps there is a line.
    if (each.scrollWidth <= each.clientWidth + 8 || !each.clientWidth) continue;
    if (each.closest(".unseen, svg, select, .scroll, .steps")) continue;
    found.push(`${each.scrollWidth} in ${each.clientWidth}: ${each.outerHTML.slice(0, 120)}`);
  }
  return found;
}
"""


@pytest.fixture
async def longest(tmp_path: Path) -> AsyncGenerator[World]:
    async with a_world_after(tmp_path, every_stage_at_its_longest) as world:
        yield world


async def test_every_page_fits_at_every_stage_and_nothing_is_cut(longest: World, browser: Browser) -> None:
    site = await a_site(longest, NOW, gateway_peers="127.0.0.1", is_development=True)
    problems: list[str] = []
    async with a_reader(browser, site, timezone_id=LONGEST_ZONE) as reader:
        for stage in STAGES:
            headers = {"X-User-Id": longest_id(stage), "X-User-Region": "FR"}
            await reader.page.set_extra_http_headers(headers)
            for path in (*PAGES_OF_A_STAGE, *(OTHER_PAGES if stage == STAGES[0] else ())):
                await reader.goes_to(path)
                if reader.page.url.endswith(path):  # The page has not redirected.
                    problems += [f"{stage} {path} {each}" for each in await too_wide(reader, stage + path)]
    assert not problems, "\n".join(problems)


async def too_wide(reader: Reader, name: str) -> list[str]:
    """The elements that are wider than the window or than their parent, at each width."""
    found: list[str] = []
    await reader.page.evaluate(_OPEN_SOME)
    for width in WIDTHS:
        await reader.page.set_viewport_size({"width": width, "height": 800})
        found += [f"at {width}: {each}" for each in await reader.page.evaluate(_WIDER_THAN_ITS_PLACE)]
        await reader.keeps_a_picture(f"{name.replace('/', '-')}-{width}")
    return found
