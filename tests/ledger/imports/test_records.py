"""A movement is its user, instant, asset and amount; an import is known as a whole, and can be undone."""

import asyncio
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import (
    BY_A_TEST,
    EXPORT_HEADER,
    LONG_AGO,
    Crash,
    World,
    a_world,
    at,
    crash_before_statement,
    paused_before,
    units,
)

from ledger.corrections import reverse
from ledger.errors import InsufficientBalance
from ledger.imports.history_export import combined, parse_export
from ledger.imports.importing import ImportRefused, import_export
from ledger.imports.plan import Answer
from ledger.imports.records import Undone, list_imports, undo_import

pytestmark = pytest.mark.on_both_databases


def line(time: str, tokens: str, asset: str = "SOL", *, user: str = "ann", remark: str = "") -> str:
    return f"{user},2026-10-01 {time},Spot,Deposit,{asset},{tokens},{remark}"


# Texts such as remarks are no part of a movement.


@pytest.mark.parametrize(
    "told_otherwise",
    [("Deposit", "Crypto Deposit"), (",Deposit,SOL,12,", ",Deposit,SOL,12,Blockchain"), ("12,", "12.0000,")],
)
async def test_a_movement_is_the_same_whatever_its_words(world: World, told_otherwise: tuple[str, str]) -> None:
    lines = [line("09:00:00", "12"), line("10:00:00", "3")]
    await world.import_lines(*lines)
    report = await world.import_lines(*(text.replace(*told_otherwise) for text in lines))
    assert (report.imported, report.already_imported) == (0, 2)
    assert await world.balances("ann") == {"SOL": units("15")}


async def test_the_same_lines_again_are_never_doubtful(world: World) -> None:
    await world.import_lines(line("09:00:00", "12"))
    report = await world.import_lines(line("09:00:00", "12"))
    assert (report.imported, report.already_imported, report.import_number) == (0, 1, 1)


# Parts and repeats.


async def doubts(world: World, *lines: str) -> list[str]:
    before = await world.everything()
    with pytest.raises(ImportRefused) as refusal:
        await world.import_lines(*lines)
    assert await world.everything() == before
    assert refusal.value.bad == []
    return [doubt.problem for doubt in refusal.value.doubts]


FIRST_PART = [line("08:00:00", "1"), line("09:00:00", "12"), line("09:00:00", "12")]
SECOND_PART = [line("09:00:00", "12", remark="later"), line("10:00:00", "1")]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("answer", "tokens"), [("same", "26"), ("again", "38")])
async def test_equal_lines_where_two_exports_meet_are_for_a_person_to_decide(
    world: World, answer: Answer, tokens: str, *, turned: bool
) -> None:
    first, second = (SECOND_PART, FIRST_PART) if turned else (FIRST_PART, SECOND_PART)
    await world.import_lines(*first)
    (doubt,) = await doubts(world, *second)
    assert "'Deposit: later'" in doubt
    assert "of import 1" in doubt
    await world.import_lines(*second, answer=answer)
    assert await world.balances("ann") == {"SOL": units(tokens)}
    assert (await world.import_lines(*second)).imported == 0
    assert (await world.import_lines(*first)).imported == 0
    assert (await world.audit()).is_clean


async def test_what_another_export_knows_wholly_is_not_doubtful(world: World) -> None:
    await world.import_lines(*FIRST_PART)
    await world.import_lines(*SECOND_PART, answer="again")
    assert (await world.import_lines(*FIRST_PART, *SECOND_PART, line("11:00:00", "1"))).imported == 1
    assert (await world.import_lines(line("09:00:00", "12"))).imported == 0


async def test_a_movement_that_was_reversed_may_be_imported_again(world: World) -> None:
    await world.import_lines(*FIRST_PART)
    ((entry_id,),) = await world.sql("SELECT max(entry_id) FROM entries WHERE kind = 'movement'")
    await reverse(world.ledger, entry_id, reason="a mistake", operator="zoe", now=at("2026-10-01 12:00"))
    assert (await world.import_lines(*FIRST_PART)).imported == 1
    assert await world.balances("ann") == {"SOL": units("25")}


async def test_what_was_imported_before_imports_were_numbered_counts_too(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"), kind="movement")
    report = await world.import_lines(line("09:00:00", "12"), line("10:00:00", "1"))
    assert (report.imported, report.already_imported) == (1, 1)


async def test_several_files_are_one_export(world: World) -> None:
    files = [FIRST_PART, SECOND_PART, [line("09:30:00", "7"), line("10:00:00", "1"), line("11:00:00", "2")]]
    parsed = [parse_export("\n".join([EXPORT_HEADER, *lines]).encode()) for lines in files]
    report = await import_export(world.ledger, combined(parsed), now=LONG_AGO, by=BY_A_TEST)
    # At 09:00 the first two meet; at 10:00 the others overlap.
    assert (report.imported, report.already_imported) == (7, 0)
    assert await world.balances("ann") == {"SOL": units("47")}


HISTORY = [(0, 1), (0, 1), (1, 5), (1, 5), (1, 5), (2, -1), (2, -1), (3, 2), (3, 2), (4, 1)]
"""Lines with these hours and tokens."""


@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_parts_of_an_export_in_any_order_come_to_the_whole(data: st.DataObject) -> None:
    """The export is cut anywhere, also within an instant. The person who is asked knows that the parts do not
    overlap."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(HISTORY) - 1), max_size=3)))
    parts = [HISTORY[first:last] for first, last in pairwise([0, *cuts, len(HISTORY)])]
    order = data.draw(st.permutations(parts))
    with TemporaryDirectory() as folder:
        asyncio.run(_comes_to_the_whole(Path(folder), order))


async def _comes_to_the_whole(folder: Path, parts: list[list[tuple[int, int]]]) -> None:
    async with a_world(folder) as world:
        await world.move("ann", "10", "SOL", at("2026-09-01"))
        for number, part in enumerate([*parts, HISTORY]):
            lines = [line(f"{9 + hour:02}:00:00", str(tokens), remark=str(number)) for hour, tokens in part]
            await world.import_lines(*lines, answer="again" if number < len(parts) else "same")
        assert await world.balances("ann") == {"SOL": units(str(10 + sum(tokens for _, tokens in HISTORY)))}
        assert len(await world.sql("SELECT 1 FROM entries WHERE kind = 'movement'")) == len(HISTORY)


# Undoing an import.


async def undo(world: World, number: int = 1, *, dry_run: bool = False) -> Undone:
    now = at("2026-10-05")
    return await undo_import(world.ledger, number, reason="wrong zone", operator="zoe", now=now, dry_run=dry_run)


async def states(world: World) -> list[tuple[str, int, int]]:
    async with world.ledger.read() as connection:
        return [(one.state, one.movements, one.taken_back) for one in await list_imports(connection)]


async def test_an_import_is_undone_whole_and_may_be_imported_again(world: World) -> None:
    await world.move("ann", "1", "SOL", at("2026-10-01 08:00"))
    lines = [line("09:00:00", "12"), line("10:00:00", "-3"), line("10:00:00", "4", user="bob")]
    await world.import_lines(*lines)
    foreseen = await undo(world, dry_run=True)
    assert await world.balances("ann") == {"SOL": units("10")}
    done = await undo(world)
    assert (done.taken_back, done.users) == (foreseen.taken_back, foreseen.users) == (3, 2)
    assert (await world.balances("ann"), await world.balances("bob")) == ({"SOL": units("1")}, {"SOL": 0})
    again = await undo(world)
    assert (again.taken_back, again.taken_back_already) == (0, 3)
    assert (await world.import_lines(*lines)).import_number == 2
    assert await world.balances("ann") == {"SOL": units("10")}
    assert await states(world) == [("undone", 3, 3), ("done", 3, 0)]
    acts = await world.sql(
        "SELECT kind, subject, operator, reason FROM acts WHERE kind LIKE 'import%' ORDER BY 1, 2"
    )
    assert [tuple(act) for act in acts] == [
        ("import", "import 1", "tests", None),
        ("import", "import 2", "tests", None),
        ("import_undo", "import 1", "zoe", "wrong zone"),
    ]
    assert (await world.audit()).is_clean


async def test_an_import_whose_tokens_are_gone_is_not_undone_at_all(world: World) -> None:
    await world.import_lines(
        line("09:00:00", "12"), line("09:00:00", "5", "SUI"), line("09:00:00", "4", user="bob")
    )
    await world.move("ann", "-10", "SOL", at("2026-10-02"))
    before = await world.everything()
    with pytest.raises(InsufficientBalance, match=r"user ann's SOL balance is 2\.0+, and 12\.0+ would be taken"):
        await undo(world)
    assert await world.everything() == before


async def test_an_undo_that_was_interrupted_is_continued(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.imports.records.PART_ENTRIES", 1)
    await world.import_lines(*(line("09:00:00", "12", user=user) for user in ("ann", "bob", "carl")))
    with pytest.raises(Crash), crash_before_statement(world.ledger, 20):
        await undo(world)
    taken = (await world.sql("SELECT count(*) FROM entries WHERE kind = 'reversal'"))[0][0]
    assert 0 < taken < 3
    done = await undo(world)
    assert (done.taken_back, done.taken_back_already) == (3 - taken, taken)
    assert (await world.audit()).is_clean


# Long exports are written in parts.


async def test_an_import_that_was_interrupted_goes_on_where_it_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.imports.importing.PART_ENTRIES", 4)
    lines = [line(f"09:{minute // 2:02}:00", "1", user=user) for user in ("ann", "bob") for minute in range(11)]
    with pytest.raises(Crash), crash_before_statement(world.ledger, 45):
        await world.import_lines(*lines)
    ((state, written, _),) = await states(world)
    assert (state, 0 < written < 22) == ("unfinished", True)
    report = await world.import_lines(*lines)
    assert (report.imported, report.already_imported) == (22 - written, written)
    assert await states(world) == [("done", 22, 0)]
    assert (await world.balances("ann"), await world.balances("bob")) == ({"SOL": units("11")},) * 2


async def test_lines_that_only_together_leave_enough_for_what_was_posted_later_are_one_part(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.imports.importing.PART_ENTRIES", 1)
    await world.move("ann", "10", "SOL", at("2026-10-01 08:00"))
    await world.move("ann", "-10", "SOL", at("2026-10-01 12:00"))
    assert (
        await world.import_lines(line("09:00:00", "-6"), line("10:00:00", "3"), line("11:00:00", "4"))
    ).imported == 3
    assert await world.balances("ann") == {"SOL": units("1")}
    assert (await world.audit()).is_clean


async def test_a_deposit_comes_in_between_the_parts_of_a_long_import(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.imports.importing.PART_ENTRIES", 1)
    lines = [line("09:00:00", "1", user=f"user{number}") for number in range(9)]
    pause = paused_before(world.ledger, "INSERT INTO imports")
    async with asyncio.TaskGroup() as group:
        long = group.create_task(world.import_lines(*lines))
        await pause.reached.wait()
        deposit = group.create_task(world.move("zoe", "1", "SOL", at("2026-10-02")))
        pause.resume.set()
        await deposit
        assert not long.done()
    assert await world.balances("user8") == {"SOL": units("1")}
