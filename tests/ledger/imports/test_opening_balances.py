"""What was held when a history begins is posted once, just before it, and never in addition to earlier
movements."""

from datetime import timedelta

import pytest
from world import BY_A_TEST, EXPORT_HEADER, LONG_AGO, World, at, day, units

from ledger.imports.history_export import ExportError, parse_export
from ledger.imports.importing import ImportRefused, ImportReport, import_export
from ledger.imports.opening_balances import with_opening_balances
from ledger.imports.records import undo_import

pytestmark = pytest.mark.on_both_databases

HEADER = "user,asset,amount"
LATER_PART = [("09:00:00", "-2"), ("10:00:00", "-3"), ("11:00:00", "4")]


def line(time: str, tokens: str, *, user: str = "ann", asset: str = "SOL") -> str:
    return f"{user},2026-10-01 {time},Spot,Trade,{asset},{tokens},"


LATER = [line(time, tokens) for time, tokens in LATER_PART]


async def begun_with(
    world: World, lines: list[str], *rows: str, header: str = HEADER, partial: bool = False
) -> ImportReport:
    export = parse_export("\n".join([EXPORT_HEADER, *lines]).encode())
    opened = with_opening_balances(export, "\n".join([header, *rows]).encode(), file=1)
    return await import_export(world.ledger, opened, now=LONG_AGO, by=BY_A_TEST, partial=partial)


async def refused(world: World, lines: list[str], *rows: str, header: str = HEADER) -> list[str]:
    before = await world.everything()
    with pytest.raises(ImportRefused) as refusal:
        await begun_with(world, lines, *rows, header=header)
    assert await world.everything() == before
    return [bad.problem for bad in refusal.value.bad]


async def entries(world: World) -> list[tuple[int, str, int]]:
    rows = await world.sql(
        "SELECT coalesce(e.occurred_at, e.effective_at) / 1000000, e.note, p.amount FROM entries e "
        "JOIN postings p USING (entry_id) JOIN accounts a USING (account_id) WHERE a.kind = 'spot' ORDER BY 1, 2"
    )
    return [(int(second), note, amount) for second, note, amount in rows]


def seconds(text: str) -> int:
    return int(at(text).timestamp())


async def test_the_refusal_says_what_the_history_should_begin_with(world: World) -> None:
    with pytest.raises(ImportRefused) as refusal:
        await world.import_lines(*LATER)
    (problem,) = [bad.problem for bad in refusal.value.bad]
    assert problem == (
        "user ann's SOL balance would be -2.00000000 after 2026-10-01 09:00:00 UTC, and below zero after 2 later "
        "instants, the last 2026-10-01 11:00:00 UTC, at worst -5.00000000 after 2026-10-01 10:00:00 UTC. If the "
        "history does not begin at its beginning: import the part before it first, or say with --opening FILE "
        "what it began with, here at least 5.00000000 SOL"
    )
    await begun_with(world, LATER, "ann,SOL,5")
    assert await world.balances("ann") == {"SOL": units("4")}


async def test_an_opening_balance_is_an_entry_of_the_import_just_before_the_first_line(world: World) -> None:
    report = await begun_with(world, [*LATER, line("08:00:00", "1", asset="ADA")], "ann,SOL,7", "ann,ADA,0")
    assert (report.imported, report.users) == (5, 1)
    assert (await entries(world))[0] == (seconds("2026-10-01 07:59:59"), "Opening balance", units("7"))
    assert (await world.audit()).is_clean


async def test_an_opening_balance_may_say_its_instant(world: World) -> None:
    await begun_with(world, LATER, "2026-09-30T12:00:00+02:00,7,SOL,ann", header="At,Amount,Asset,User")
    assert (await entries(world))[0] == (seconds("2026-09-30 10:00"), "Opening balance", units("7"))


async def test_the_same_command_again_posts_nothing_and_a_longer_export_goes_on(world: World) -> None:
    await begun_with(world, LATER, "ann,SOL,7")
    again = await begun_with(world, LATER, "ann,SOL,7")
    assert (again.imported, again.already_imported) == (0, 4)
    longer = await world.import_lines(*LATER, line("12:00:00", "1"))
    assert (longer.imported, longer.already_imported) == (1, 3)
    also = await begun_with(world, [*LATER, line("12:00:00", "1"), line("13:00:00", "1")], "ann,SOL,7")
    assert (also.imported, also.already_imported) == (1, 5)
    assert await world.balances("ann") == {"SOL": units("8")}


async def test_an_opening_balance_is_reversed_with_its_import(world: World) -> None:
    await begun_with(world, LATER, "ann,SOL,7")
    await undo_import(world.ledger, 1, reason="a mistake", operator="zoe", now=at("2026-10-02"))
    assert await world.balances("ann") == {"SOL": 0}
    whole = [line("08:00:00", "6"), *LATER]
    assert (await world.import_lines(*whole)).imported == 4
    assert await world.balances("ann") == {"SOL": units("5")}


async def test_what_was_before_an_opening_balance_is_not_imported_beside_it(world: World) -> None:
    await begun_with(world, LATER, "ann,SOL,7")
    for earlier in ("08:00:00", "08:59:59"):
        (problem,) = await refused(world, [line(earlier, "6")])
        assert problem == (
            "user ann's SOL balance of 2026-10-01 08:59:59 UTC is an opening balance of import 1, which has in it "
            "what was before; take that import back (imports undo 1), then import this, and the other without the "
            "opening balance"
        )
    report = await world.import_lines(line("08:00:00", "7", asset="ADA"), line("08:00:00", "7", user="bob"))
    assert report.imported == 2


async def test_what_the_ledger_knows_already_is_no_opening_balance(world: World) -> None:
    await world.import_lines(
        line("07:00:00", "3"), line("07:00:00", "3", asset="ADA"), line("07:30:00", "-3", asset="ADA")
    )
    (problem,) = await refused(world, [*LATER, line("09:00:00", "-1", asset="ADA")], "ann,SOL,7", "ann,ADA,1")
    assert problem == (
        "user ann's SOL balance before 2026-10-01 08:59:59 UTC is 3.00000000 by the ledger already, and an "
        "opening balance would come on top; import what lies between, or leave this line out"
    )


async def test_an_opening_balance_in_closed_days_counts_from_the_end_of_those(world: World) -> None:
    await world.move("ann", "10", "SOL", at("2026-10-02 09:00"))
    await world.enrol("ann", at("2026-10-02 10:00"))
    await world.snapshot("ann", day("2026-10-02"))
    report = await begun_with(world, LATER, "ann,SOL,7")
    assert (report.imported, report.in_closed_days) == (4, 4)
    assert (await begun_with(world, LATER, "ann,SOL,7")).imported == 0
    assert len(await refused(world, [line("08:00:00", "7")])) == 1
    assert await world.balances("ann") == {"SOL": units("16")}
    assert (await world.audit()).is_clean


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("ann,SOL,-1", "-1 is below zero; nobody's history begins so"),
        ("ann,SOL,many", "'many' is not a number"),
        ("ann,SOL,1E-9", "'1E-9' has more than 8 decimals"),
        ("ann,S L,1", "'S L' is not an asset code"),
        ("ann,sol,1", "there is no asset sol: the program has SOL"),
        ("ann,SOL", "a line has 3 fields, this one has 2"),
        ("zoe,SOL,1", "the export has no movement of user zoe that an opening balance could precede"),
        ("a b,SOL,1", "'a b' is not a user id"),
        ("ann,SOL,7\nann,SOL,8", "user ann's SOL has an opening balance already"),
    ],
)
async def test_a_bad_line_of_opening_balances_is_reported_and_stops_all(
    world: World, row: str, problem: str
) -> None:
    assert any(problem in told for told in await refused(world, LATER, row))


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            ["ann,SOL,1,2026-10-01 09:00:00"],
            "user ann's history begins at 2026-10-01 09:00:00 UTC, and an opening",
        ),
        (["ann,SOL,1,noon"], "'noon' is not an ISO 8601 instant"),
        (
            ["ann,SOL,1,2026-09-01 09:00:00", "ann,ADA,1,2026-09-02 09:00:00"],
            "the opening balances of user ann are of several instants; they are of one",
        ),
    ],
)
async def test_an_opening_balance_of_an_impossible_instant_is_reported(
    world: World, rows: list[str], problem: str
) -> None:
    assert any(problem in told for told in await refused(world, LATER, *rows, header=f"{HEADER},at"))


async def test_one_users_opening_balance_that_is_wrong_leaves_the_others_alone(world: World) -> None:
    report = await begun_with(
        world, [*LATER, line("09:00:00", "-1", user="bob")], "ann,SOL,7", "bob,SOL,?", partial=True
    )
    assert (report.imported, report.users) == (4, 1)
    assert {bad.user_id for bad in report.left_out} == {"bob"}


@pytest.mark.parametrize(
    "content", [b"", b"user,asset\nann,SOL", b"ann,SOL,7", b"\xff\xfe", b'user,asset,amount\nann,SOL,"7']
)
def test_what_is_no_file_of_opening_balances_is_refused(content: bytes) -> None:
    with pytest.raises(ExportError):
        with_opening_balances(parse_export(EXPORT_HEADER.encode()), content, file=1)


# Legs of one movement, seconds apart.


async def test_legs_seconds_apart_are_named_for_all_instants_in_one_sentence(world: World) -> None:
    noon = at("2026-10-01 12:00")
    lines: list[str] = []
    for minute in range(50):
        for second, tokens in ((0, "-1"), (1, "1")):
            instant = noon + timedelta(minutes=minute, seconds=second)
            lines.append(f"ann,{instant:%Y-%m-%d %H:%M:%S},Spot,Trade,SOL,{tokens},")
    with pytest.raises(ImportRefused) as refusal:
        await world.import_lines(*lines)
    ((number, problem),) = [(bad.number, bad.problem) for bad in refusal.value.bad]
    assert number == 2
    assert problem.endswith(
        ". Line 3 covers what line 2 takes 1 s before it, and so it is at all of these instants: if two such "
        "lines are legs of one movement, give the later one the time of the earlier"
    )


async def test_legs_and_a_missing_beginning_are_reported_together(world: World) -> None:
    with pytest.raises(ImportRefused) as refusal:
        await world.import_lines(
            line("09:00:00", "-1"), line("09:00:01", "1"), line("10:00:00", "-4"), line("11:00:00", "1")
        )
    (problem,) = [bad.problem for bad in refusal.value.bad]
    assert "Line 3 covers what line 2 takes 1 s before it, and so it is at 1 of these instants" in problem
    assert problem.endswith("here at least 4.00000000 SOL")
