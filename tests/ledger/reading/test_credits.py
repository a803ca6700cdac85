"""All credits of a day, of all users, in pages that leave none out and repeat none."""

from datetime import date

import pytest
from sqlalchemy import event
from world import World, at, day

from ledger.corrections import reverse
from ledger.reading import credits as reading
from ledger.reading.credits import CreditOfUser, CreditsPage, credits_of_day

pytestmark = pytest.mark.on_both_databases

DAY = day("2026-10-02")


async def page(world: World, *, after: str = "", size: int = 2, of: date = DAY) -> CreditsPage:
    async with world.ledger.read() as connection:
        return await credits_of_day(connection, of, after=after, size=size)


async def all_pages(world: World, *, size: int) -> list[CreditOfUser]:
    found: list[CreditOfUser] = []
    after: str | None = ""
    while after is not None:
        got = await page(world, after=after, size=size)
        assert len(got.credits) <= size
        found += got.credits
        after = got.next_after
    return found


@pytest.fixture
async def five(world: World) -> World:
    """Ann, bob, eve and Zoe are credited; carl is owed the day, dan earned nothing, and fay came later."""
    for user, tokens in (("ann", "12"), ("bob", "3"), ("carl", "5"), ("dan", "1"), ("eve", "1"), ("Zoe", "7")):
        await world.move(user, tokens, "SOL", at("2026-10-01 09:00"))
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.snapshot(user, day("2026-10-01"))
    await world.move("dan", "-0.5", "SOL", at("2026-10-01 12:00"))
    for user in ("Zoe", "ann", "bob", "dan", "eve"):
        await world.pay(user, DAY)
    await world.end("bob", at("2026-10-03 10:00"))
    await world.move("fay", "12", "SOL", at("2026-10-02 09:00"))
    await world.enrol("fay", at("2026-10-02 10:00"))
    return world


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
async def test_every_credit_of_the_day_is_on_one_page_of_any_size(five: World, size: int) -> None:
    found = await all_pages(five, size=size)

    assert [credit.user_id for credit in found] == ["Zoe", "ann", "bob", "eve"]
    statements = {line.user_id: [line] for line in await five.statement() if line.entry_id}
    assert {credit.user_id: credit.lines for credit in found} == statements


async def test_a_credit_that_was_taken_back_says_so_and_stays(five: World) -> None:
    entry_id = (await page(five)).credits[0].lines[0].entry_id
    assert entry_id is not None
    answer = await reverse(
        five.ledger, entry_id, of="Zoe", reason="a test", operator="tests", now=at("2026-10-04"), tell=None
    )

    assert (await page(five)).credits[0].lines[0].reversed_by == answer.entry.entry_id


async def test_a_page_of_users_who_are_owed_the_day_is_short_and_goes_on(
    five: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_ROUNDS_MAX", 1)

    short = await page(five, after="bob", size=2)

    assert (short.credits, short.next_after) == ([], "dan")
    assert [credit.user_id for credit in await all_pages(five, size=1)] == ["Zoe", "ann", "bob", "eve"]


@pytest.mark.parametrize("of", ["2026-10-01", "2026-10-03", "2020-01-01"])
async def test_a_day_for_which_nothing_was_credited_has_one_empty_page(five: World, of: str) -> None:
    assert await page(five, of=day(of)) == CreditsPage([], None)


async def test_a_page_costs_a_few_statements_however_many_credits_it_has(five: World) -> None:
    asked: list[str] = []
    async with five.ledger.read() as connection:
        event.listen(
            connection.sync_connection,
            "before_cursor_execute",
            lambda _c, _k, statement, *_: asked.append(statement),
        )
        await credits_of_day(connection, DAY, after="", size=100)

    assert len(asked) == 3
