"""Start Earning and Stop through the pages, answered by the real workflow; no browser and no script."""

from datetime import timedelta

from staking_service import StakingService, a_service
from visitor import Clock, Visitor, a_site, a_visitor, in_the_morning, tags_of
from world import SHIPPED_PROGRAM, World, at

from staking.days import day_of
from temporal.client import SoftStakingClient

ACTIVATE, STOP = "/soft-staking/activate", "/soft-staking/stop"
ALL_TICKED = {f"document__{name}": version for name, version in SHIPPED_PROGRAM.documents.items()}


async def ticked(ann: Visitor) -> list[str | None]:
    page = await ann.press(ACTIVATE, ACTIVATE, document__risk_warning="2026-01-01")
    return [attributes["name"] for _, attributes in tags_of(page.html) if "checked" in attributes]


async def test_the_whole_journey_needs_no_script(world: World) -> None:
    await world.move("ann", "0.4", "SOL", at("2026-01-01"))
    async with a_service(world) as service:
        await service.start_worker()
        clock = await in_the_morning(service)
        site = await a_site(world, clock, client=service.client)
        async with a_visitor(site, "ann", region="CU") as ann:
            await refusals(ann)
        async with a_visitor(site, "ann") as ann:
            await from_start_to_stop(service, clock, ann)


async def refusals(ann: Visitor) -> None:
    page = await ann.press(ACTIVATE, ACTIVATE)
    assert page.status == 422
    assert "Soft Staking was not started, for these 5 reasons" in page.text
    for sentence in (
        "Soft Staking is not offered in region CU. If you have moved, update your address",
        "The Terms of Use must be accepted in the version in force, 2026-01-01. Read the Terms of Use below",
        "The Soft Staking Terms must be accepted in the version in force",
        "The Risk Warning must be accepted in the version in force",
        "No program asset is held at or above its minimum. You hold 0.4 SOL; Soft Staking starts at 1 SOL.",
    ):
        assert sentence in page.text
    invalid = [
        attributes["name"] for _, attributes in tags_of(page.html) if attributes.get("aria-invalid") == "true"
    ]
    assert invalid == [f"document.{name}" for name in SHIPPED_PROGRAM.documents]
    assert await ticked(ann) == ["document.risk_warning"]
    # The page showed an older version, or one that does not exist.
    fields = ALL_TICKED | {"document__risk_warning": "2025-01-01", "document__no_such_document": "1"}
    page = await ann.press(ACTIVATE, ACTIVATE, **fields)
    assert "for these 3 reasons" in page.text
    assert "The Risk Warning must be accepted in the version in force, 2026-01-01." in page.text


async def from_start_to_stop(service: StakingService, clock: Clock, ann: Visitor) -> None:
    page = await ann.press(ACTIVATE, ACTIVATE, **ALL_TICKED)
    assert "for this reason" in page.text
    await service.deposit("12", "SOL")
    form = (await ann.get(ACTIVATE)).form(ACTIVATE) | {
        f"document.{n}": v for n, v in SHIPPED_PROGRAM.documents.items()
    }
    started = await ann.post(ACTIVATE, form)
    assert (started.status, started.leads_to) == (303, "/soft-staking/started")
    receipt = await service.activate()
    again = await ann.post(ACTIVATE, form)
    assert again.leads_to == "/soft-staking/started"
    assert await service.enrolment_count() == 1
    page = await ann.get("/soft-staking/started")
    assert f"Day 1 Activation {receipt.activated_at.day} " in page.text
    assert 'class="tag yellow"' in (await ann.get("/")).html

    stopped = await ann.press(STOP, STOP)
    assert (stopped.status, stopped.leads_to) == (303, "/soft-staking")
    page = await ann.get("/soft-staking")
    assert "Stopped; no day earns since." in page.text
    assert 'class="tag grey"' in (await ann.get("/")).html
    assert (await ann.post(STOP, form)).leads_to == "/soft-staking"
    assert day_of(clock()) == day_of(receipt.activated_at)


async def test_a_start_and_a_stop_that_nobody_answers_say_that_pressing_again_is_safe(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-01-01"))
    await world.move("bob", "12", "SOL", at("2026-01-01"))
    async with a_service(world) as service:
        now = await service.now()
        await world.enrol("bob", now)
        impatient = SoftStakingClient(service.temporal, timeout=timedelta(seconds=0.3))
        site = await a_site(world, now, client=impatient)
        async with a_visitor(site, "ann") as ann, a_visitor(site, "bob") as bob:
            pages = [
                await ann.press(ACTIVATE, ACTIVATE, document__risk_warning="2026-01-01"),
                await bob.press(STOP, STOP),
            ]
    for page in pages:
        assert page.status == 503
        assert "We could not confirm that" in page.text
        assert "pressing it twice is safe" in page.text
        assert "emporal" not in page.html
        assert "worker" not in page.html
    (still_ticked,) = [attributes["name"] for _, attributes in tags_of(pages[0].html) if "checked" in attributes]
    assert still_ticked == "document.risk_warning"
