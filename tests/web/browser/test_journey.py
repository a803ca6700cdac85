"""The whole journey in a real browser, with the real workflow and time that skips."""

from datetime import datetime, timedelta

from playwright.async_api import Browser, Page, expect
from reader import PHONE, Reader, a_reader
from staking_service import StakingService, a_service
from visitor import Clock, a_site, in_the_morning
from world import World, at

from staking.days import ONE_DAY, day_of, end_of
from web.pages.wording import day_text, instant_text


class Journey:
    """Ann in front of the pages, whose clock is the Temporal server's."""

    def __init__(self, service: StakingService, clock: Clock, reader: Reader) -> None:
        self.service = service
        self.clock = clock
        self.reader = reader
        self.page = reader.page

    async def skips_to(self, instant: datetime) -> None:
        await self.service.skip_to(instant)
        self.clock.instant = await self.service.now()

    async def comes_back(self) -> None:
        """Signs the person in again, since the session has expired overnight."""
        await self.page.reload()
        await self.reader.heading_is("Whose account do you want to see?")
        await self.reader.chooses("ann")
        await self.reader.goes_to("/soft-staking")


async def test_from_a_grey_tag_to_the_third_days_reward(world: World, browser: Browser) -> None:
    async with a_service(world) as service:
        await service.start_worker()
        clock = await in_the_morning(service)
        await world.move("ann", "12", "SOL", clock() - timedelta(days=3))
        await world.move("ann", "250", "USDT", clock() - timedelta(days=3))
        site = await a_site(world, clock, client=service.client, is_development=True)
        async with a_reader(browser, site) as reader:
            journey = Journey(service, clock, reader)
            await reader.chooses("ann")
            await sees_the_grey_tag_and_reads_the_terms(journey)
            await presses_start_earning_by_keyboard(journey)
            await sees_days_1_2_and_3(journey)
            await finds_the_third_days_reward_explained(journey)
            await stops_after_a_confirmation(journey)
            await reader.finds_nothing_to_complain_of()


async def sees_the_grey_tag_and_reads_the_terms(journey: Journey) -> None:
    page = journey.page
    tag = page.get_by_role("link", name="Soft Staking · off")
    await expect(tag).to_have_class("tag grey")
    await expect(page.get_by_role("row", name="SOL")).to_contain_text("Soft Staking")
    await tag.click()
    await journey.reader.heading_is("A reward every day, on what you simply hold")
    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="Read the Risk Warning, in a new tab").click()
    document = await opened.value
    await expect(document.get_by_role("heading", level=1)).to_have_text("Risk Warning")
    await document.close()


async def presses_start_earning_by_keyboard(journey: Journey) -> None:
    page = journey.page
    await page.reload()
    await page.keyboard.press("Tab")
    assert await focused(page) == "Skip to content"
    await page.keyboard.press("Enter")
    for document in ("Terms of Use", "Soft Staking Terms", "Risk Warning"):
        await tabs_to(page, f"document-{document.lower().replace(' ', '_')}")
        assert await has_a_focus_ring(page)
        await page.keyboard.press("Space")
        await expect(page.get_by_role("checkbox", name=f"I have read and accept the {document}")).to_be_checked()
    await tabs_to(page, "Start Earning")
    assert await has_a_focus_ring(page)
    await page.keyboard.press("Enter")
    await journey.reader.heading_is("Soft Staking is on")


async def sees_days_1_2_and_3(journey: Journey) -> None:
    page, now = journey.page, journey.clock()
    steps = page.get_by_role("listitem").filter(has=page.locator("time, .utc"))
    first_day = day_of(now)
    day_2, day_3 = end_of(first_day), end_of(first_day + ONE_DAY)
    await expect(steps.nth(0)).to_contain_text("Day 1")
    await expect(steps.nth(1)).to_contain_text(f"{instant_text(day_2)} UTC")
    await expect(steps.nth(1)).to_contain_text("Europe/Paris")
    await expect(steps.nth(2)).to_contain_text(f"{instant_text(day_3)} – 08:00 UTC")
    await page.get_by_role("link", name="Spot assets").click()
    await expect(page.get_by_role("link", name="Soft Staking · on")).to_have_class("tag yellow")
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="Soft Staking").click()
    await expect(page.get_by_text("Today is Day 1, which earns nothing yet.")).to_be_visible()
    await expect(page.get_by_text("Nothing was credited yet.")).to_be_visible()


async def finds_the_third_days_reward_explained(journey: Journey) -> None:
    page = journey.page
    day_2 = day_of(journey.clock()) + ONE_DAY
    await journey.skips_to(end_of(day_2 - ONE_DAY) + timedelta(minutes=10))
    await journey.comes_back()
    await expect(page.get_by_text("Every day earns.")).to_be_visible()
    await expect(page.get_by_text(f"For {day_text(day_2)}, if your holdings")).to_be_visible()
    await expect(page.get_by_role("row", name="SOL 0.00026301")).to_be_visible()

    await journey.skips_to(end_of(day_2) + timedelta(minutes=10))
    await journey.service.credited_through(day_2)
    await journey.comes_back()
    line = page.locator(".history details")
    await expect(line).to_have_count(1)
    await expect(line.locator("summary")).to_contain_text(day_text(day_2))
    await expect(line.locator("summary")).to_contain_text("0.00026301")
    await expect(line.get_by_text("min(12, 10,000)")).to_be_hidden()
    await line.locator("summary").press("Enter")
    await expect(line.get_by_text("min(12, 10,000) × 0.008 ÷ 365 = 0.000263013698…")).to_be_visible()
    await expect(line.get_by_text("Rounded down to 8 decimals: 0.00026301 SOL.")).to_be_visible()
    await expect(page.get_by_role("img", name="Daily rewards in USDT")).to_be_visible()
    await page.get_by_role("link", name="Assets", exact=True).click()
    await expect(page.get_by_role("row", name="SOL")).to_contain_text("12.00026301")


async def stops_after_a_confirmation(journey: Journey) -> None:
    page = journey.page
    await journey.reader.goes_to("/soft-staking")
    await page.get_by_role("link", name="Stop").click()
    await journey.reader.heading_is("Stop Soft Staking?")
    await expect(
        page.get_by_text(f"Today, {day_text(day_of(journey.clock()))} (UTC), earns nothing")
    ).to_be_visible()
    await page.get_by_role("link", name="Keep earning").click()
    await expect(page.get_by_text("Every day earns.")).to_be_visible()
    await page.get_by_role("link", name="Stop").click()
    await page.get_by_role("button", name="Stop Soft Staking").click()
    await expect(page.get_by_text("Stopped; no day earns since.")).to_be_visible()
    await expect(page.locator(".history details")).to_have_count(1)
    await page.get_by_role("link", name="Assets", exact=True).click()
    await expect(page.get_by_role("link", name="Soft Staking · off")).to_have_class("tag grey")


async def test_a_refusal_lists_every_reason_and_what_to_do_and_is_read_first(
    world: World, browser: Browser
) -> None:
    await world.move("ann", "0.4", "SOL", at("2026-01-01"))
    async with a_service(world) as service:
        await service.start_worker()
        clock = await in_the_morning(service)
        site = await a_site(world, clock, client=service.client, is_development=True)
        async with a_reader(browser, site, viewport=PHONE) as reader:
            page = reader.page
            await reader.chooses("ann", region="CU")
            await expect(page.get_by_text("You hold 0.4 SOL; Soft Staking starts at 1 SOL.")).to_be_visible()
            await reader.goes_to("/soft-staking")
            await page.get_by_role("checkbox", name="Terms of Use").check()
            await page.get_by_role("button", name="Start Earning").click()

            refusal = page.get_by_role("alert")
            await expect(refusal).to_be_focused()
            await expect(refusal.get_by_role("heading")).to_have_text(
                "Soft Staking was not started, for these 4 reasons"
            )
            await expect(refusal.get_by_role("listitem")).to_have_count(4)
            for words in ("in region CU", "Soft Staking Terms", "Risk Warning", "Buy or deposit what is missing"):
                await expect(refusal).to_contain_text(words)
            await expect(page.get_by_role("checkbox", name="Terms of Use")).to_be_checked()
            assert "status of 422" in reader.complaints.pop()
            await reader.finds_nothing_to_complain_of("refused-phone")

            await page.get_by_role("checkbox", name="Soft Staking Terms").check()
            await page.get_by_role("checkbox", name="Risk Warning").check()
            await page.get_by_role("button", name="Start Earning").click()
            await expect(refusal.get_by_role("listitem")).to_have_count(2)


async def focused(page: Page) -> str:
    """The element that has the focus: its id, or its text if it has no id."""
    return await page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")


async def tabs_to(page: Page, element: str) -> None:
    for _ in range(40):
        if await focused(page) == element:
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{element} is not reached by keyboard")


async def has_a_focus_ring(page: Page) -> bool:
    style = await page.evaluate("getComputedStyle(document.activeElement).outline")
    return "solid" in style and "3px" in style
