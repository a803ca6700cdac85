"""An export is imported whole or not at all, each line once, in any order (I2, I4)."""

from dataclasses import replace
from itertools import permutations

import pytest
from world import BY_A_TEST, EXPORT_HEADER, LONG_AGO, World, at, day, program_with, units

from ledger.imports.history_export import parse_export
from ledger.imports.importing import ImportRefused, import_export
from staking.days import ONE_DAY

pytestmark = pytest.mark.on_both_databases

WAYS_OUT = (
    "If the history does not begin at its beginning: import the part before it first, or say with --opening FILE "
    "what it began with, here at least 1.00000000 SOL"
)
D1, D2, D3 = (day("2026-10-01") + n * ONE_DAY for n in range(3))


def line(time: str, tokens: str, asset: str = "SOL", *, user: str = "ann", remark: str = "") -> str:
    """A line of an export. ``time`` is a time of 2026-10-01, or has a date of its own."""
    full = time if len(time) > 8 else f"2026-10-01 {time}"
    return f"{user},{full},Spot,Deposit,{asset},{tokens},{remark}"


async def refused(world: World, *lines: str) -> list[tuple[int, str]]:
    before = await world.everything()
    with pytest.raises(ImportRefused) as refusal:
        await world.import_lines(*lines)
    assert await world.everything() == before
    return [(bad.number, bad.problem) for bad in refusal.value.bad]


async def timeline(world: World, user: str = "ann") -> list[tuple[int, str, int]]:
    rows = await world.sql(
        "SELECT p.effective_at, a.asset, p.amount FROM postings p JOIN accounts a USING (account_id) "
        "WHERE a.user_id = :user ORDER BY 1, 2, 3",
        user=user,
    )
    return [tuple(row) for row in rows]


def micros(text: str) -> int:
    return int(at(text).timestamp()) * 1_000_000


async def test_lines_become_movements_at_their_instants(world: World) -> None:
    report = await world.import_lines(line("09:00:00", "12"), line("10:00:00", "-3", remark="to a friend"))
    assert (report.imported, report.already_imported, report.users) == (2, 0, 1)
    assert await timeline(world) == [
        (micros("2026-10-01 09:00"), "SOL", units("12")),
        (micros("2026-10-01 10:00"), "SOL", units("-3")),
    ]
    assert [note for (note,) in await world.sql("SELECT note FROM entries WHERE user_id = 'ann'")] == [
        "Deposit",
        "Deposit: to a friend",
    ]


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_the_order_of_lines_changes_nothing(world: World, order: tuple[int, ...]) -> None:
    lines = [line("09:00:00", "12"), line("10:00:00", "-12"), line("11:00:00", "5"), line("11:00:00", "-5")]
    await world.import_lines(*(lines[index] for index in order))
    assert await timeline(world) == [
        (micros("2026-10-01 09:00"), "SOL", units("12")),
        (micros("2026-10-01 10:00"), "SOL", units("-12")),
        (micros("2026-10-01 11:00"), "SOL", units("-5")),
        (micros("2026-10-01 11:00"), "SOL", units("5")),
    ]
    assert (await world.audit()).is_clean


async def test_a_movement_is_imported_once_however_exports_overlap(world: World) -> None:
    one, two, three, four = (line(f"{hour}:00:00", "2") for hour in ("09", "10", "11", "12"))
    await world.import_lines(one, two, three)
    report = await world.import_lines(four, two, three)
    assert (report.imported, report.already_imported) == (1, 2)
    assert await world.balances("ann") == {"SOL": units("8")}


async def test_equal_lines_of_one_export_are_as_many_movements(world: World) -> None:
    around, same = [line("08:00:00", "1"), line("10:00:00", "1")], line("09:00:00", "12")
    assert (await world.import_lines(*around, same, same)).imported == 4
    again = await world.import_lines(*around, same, same, same)
    assert (again.imported, again.already_imported) == (1, 4)
    assert await world.balances("ann") == {"SOL": units("38")}


async def test_a_balance_below_zero_at_the_end_of_an_instant_is_reported_with_its_line(world: World) -> None:
    assert await refused(world, line("09:00:00", "12"), line("11:00:00", "20"), line("10:00:00", "-13")) == [
        (4, f"user ann's SOL balance would be -1.00000000 after 2026-10-01 10:00:00 UTC. {WAYS_OUT}")
    ]


async def test_every_fault_is_reported_in_the_order_of_lines(world: World) -> None:
    problems = await refused(
        world,
        line("09:00:00", "-1", "SUI"),
        line("09:00:00", "-1", "SOL"),
        line("25:00:00", "1"),
        line("09:00:00", "1E-9"),
        line("09:00:00", "-1", user="bob"),
        line("09:00:00", "7", user="carl"),
    )
    assert [number for number, _ in problems] == [2, 3, 4, 5, 6]


async def test_a_balance_below_zero_within_an_instant_is_none(world: World) -> None:
    report = await world.import_lines(line("09:00:00", "-5"), line("09:00:00", "-5"), line("09:00:00", "10"))
    assert report.imported == 3
    assert (await world.audit()).is_clean


async def test_what_was_posted_before_counts_in(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 08:00"))
    await world.import_lines(line("09:00:00", "-12"))
    assert await world.balances("ann") == {"SOL": 0}


async def test_an_earlier_line_must_leave_enough_for_what_was_posted_later(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 08:00"))
    await world.move("ann", "-10", "SOL", at("2026-10-01 12:00"))
    assert await refused(world, line("09:00:00", "-3"), line("13:00:00", "50")) == [
        (2, f"user ann's SOL balance would be -1.00000000 after 2026-10-01 12:00:00 UTC. {WAYS_OUT}")
    ]
    assert (await world.import_lines(line("09:00:00", "-2"))).imported == 1
    assert (await world.audit()).is_clean


async def test_a_live_movement_after_an_import_is_never_older_than_its_lines(world: World) -> None:
    await world.import_lines(line("12:00:00", "12"))
    await world.move("ann", "-12", "SOL", at("2026-10-01 11:00"))
    assert (await world.audit()).is_clean


async def test_a_skipped_line_delays_no_live_movement(world: World) -> None:
    await world.import_lines(line("12:00:00", "12"), *[line("18:00:00", "90000000000", "SHIB")] * 2)
    await world.move("ann", "1", "SOL", at("2026-10-01 13:00"))
    assert (await timeline(world))[-1][0] == micros("2026-10-01 13:00")


# Closed days.


async def test_lines_into_closed_days_are_counted_and_count_from_the_watermark(world: World) -> None:
    await world.import_lines(line("09:00:00", "12"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    snapshot = await world.snapshot("ann", D2)

    report = await world.import_lines(
        line("2026-10-01 12:00:00", "-2"),
        line("2026-10-02 23:59:59", "5"),
        line("2026-10-03 00:00:00", "1"),
        line("2026-10-01 11:00:00", "7", user="bob"),
    )

    assert (report.imported, report.in_closed_days) == (4, 2)
    assert await world.snapshot("ann", D2) == snapshot
    await world.credit("ann", await world.compute(snapshot))
    reward = (await world.statement("ann"))[0].reward
    third = (await world.snapshot("ann", D3)).holdings[0]
    assert (third.opening, third.average) == (units("12"), units("16") + reward)
    assert (await world.audit()).is_clean


async def test_a_withdrawal_into_a_closed_day_may_be_covered_by_what_counts_there_too(world: World) -> None:
    await world.import_lines(line("09:00:00", "12"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    report = await world.import_lines(line("11:00:00", "-20"), line("18:00:00", "8"))
    assert report.in_closed_days == 2
    assert (await world.audit()).is_clean


async def test_the_instant_in_the_file_is_kept(world: World) -> None:
    await world.import_lines(line("09:00:00", "12"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    await world.import_lines(line("12:00:00", "1"))
    assert await world.sql(
        "SELECT effective_at, occurred_at FROM entries WHERE user_id = 'ann' ORDER BY entry_id"
    ) == [(micros("2026-10-01 09:00"), None), (micros("2026-10-02"), micros("2026-10-01 12:00"))]


# Amounts that do not fit.


async def test_an_asset_outside_the_program_with_too_large_an_amount_is_skipped_whole(world: World) -> None:
    report = await world.import_lines(
        line("09:00:00", "100000000000", "SHIB"),
        line("10:00:00", "-5", "SHIB"),
        line("09:00:00", "7", "SHIB", user="bob"),
        line("09:00:00", "12"),
    )
    assert (report.imported, report.skipped_assets) == (1, {"SHIB": 3})
    assert await world.balances("bob") == {}
    assert await world.balances("ann") == {"SOL": units("12")}


@pytest.mark.parametrize(("first", "second"), [("ann", "bob"), ("bob", "ann"), ("ann", "ann")])
async def test_an_asset_outside_the_program_with_too_large_a_balance_is_skipped_whole(
    world: World, first: str, second: str
) -> None:
    report = await world.import_lines(
        line("09:00:00", "-5", "SHIB", user=second),
        line("10:00:00", "90000000000", "SHIB", user=first),
        line("11:00:00", "90000000000", "SHIB", user=first),
        line("09:00:00", "12", user=second),
    )
    assert (report.imported, report.skipped_assets) == (1, {"SHIB": 3})


async def test_an_asset_of_the_program_with_too_large_an_amount_is_refused(world: World) -> None:
    assert await refused(world, line("09:00:00", "12"), line("09:00:00", "100000000000")) == [
        (3, "'100000000000' is more than 90 billion")
    ]


async def test_an_asset_of_the_program_with_too_large_a_balance_is_refused(world: World) -> None:
    assert await refused(world, line("09:00:00", "90000000000"), line("10:00:00", "1E-8")) == [
        (3, "user ann's SOL balance would pass 90 billion at 2026-10-01 10:00:00 UTC")
    ]


async def test_exactly_90_billion_and_the_smallest_amount_are_imported(world: World) -> None:
    await world.import_lines(line("09:00:00", "89999999999.99999999"), line("10:00:00", "1E-8"))
    assert await world.balances("ann") == {"SOL": units("90000000000")}
    assert (await world.audit()).is_clean


async def test_an_asset_outside_the_program_with_too_many_decimals_is_skipped_whole(world: World) -> None:
    report = await world.import_lines(
        line("09:00:00", "0.123456789", "PEPE"),
        line("10:00:00", "-1E-9", "PEPE"),
        line("09:00:00", "7", "PEPE", user="bob"),
        line("09:00:00", "12"),
        line("09:00:00", "5.123456780000", "DOGE"),
    )
    assert (report.imported, report.skipped_assets) == (2, {"PEPE": 3})
    assert await world.balances("bob") == {}
    assert await world.balances("ann") == {"DOGE": units("5.12345678"), "SOL": units("12")}


async def test_an_asset_of_a_program_to_come_with_too_many_decimals_is_refused(world: World) -> None:
    await world.apply(program_with("2030-01-01", PEPE={}))
    assert await refused(world, line("09:00:00", "12"), line("09:00:00", "0.123456789", "PEPE")) == [
        (3, "'0.123456789' has more than 8 decimals")
    ]


# Some users without the others.


PARTLY_BAD = [
    line("09:00:00", "12"),
    line("09:00:00", "5", user="bob"),
    line("10:00:00", "many", user="bob"),
    line("09:00:00", "-1", user="carl"),
    line("09:00:00", "7", user="dora"),
    line("10:00:00", "1E-9", user="dora"),
    line("09:00:00", "3", user="eve"),
    "finn,2026-10-01",
    line("09:00:00", "3", user="finn"),
]


async def test_users_with_whom_something_is_wrong_are_left_out_whole_and_the_others_imported(world: World) -> None:
    with pytest.raises(ImportRefused):
        await world.import_lines(*PARTLY_BAD)
    foreseen = await world.import_lines(*PARTLY_BAD, partial=True, dry_run=True)
    report = await world.import_lines(*PARTLY_BAD, partial=True)
    assert (report.imported, report.users) == (foreseen.imported, foreseen.users) == (2, 2)
    assert [(bad.user_id, bad.number) for bad in report.left_out] == [
        ("bob", 4),
        ("carl", 5),
        ("dora", 7),
        ("finn", 9),
    ]
    assert [
        user for (user,) in await world.sql("SELECT DISTINCT user_id FROM entries WHERE kind = 'movement'")
    ] == [
        "ann",
        "eve",
    ]
    mended = [
        text.replace("many", "1").replace("1E-9", "1").replace(",-1,", ",1,")
        for text in PARTLY_BAD
        if len(text) > 20
    ]
    again = await world.import_lines(*mended, answer="same")
    assert (again.imported, again.already_imported) == (6, 2)
    assert (await world.audit()).is_clean


async def test_a_user_with_doubtful_lines_is_left_out_too(world: World) -> None:
    await world.import_lines(line("08:00:00", "1"), line("09:00:00", "1"))
    report = await world.import_lines(
        line("09:00:00", "1"), line("10:00:00", "1"), line("09:00:00", "2", user="bob"), partial=True
    )
    assert [bad.user_id for bad in report.left_out] == ["ann"]
    assert (await world.balances("ann"), await world.balances("bob")) == ({"SOL": units("2")}, {"SOL": units("2")})


@pytest.mark.parametrize("line_of_nobody", ["100,2026-10-01", '"', " ann,2026-10-01 09:00:00,Spot,Deposit,SOL,1,"])
async def test_a_line_that_may_be_anybodys_stops_all(world: World, line_of_nobody: str) -> None:
    before = await world.everything()
    with pytest.raises(ImportRefused):
        await world.import_lines(line("09:00:00", "12"), line_of_nobody, partial=True)
    assert await world.everything() == before


async def test_all_may_be_left_out(world: World) -> None:
    report = await world.import_lines(line("09:00:00", "-1"), partial=True)
    assert (report.imported, report.users, report.import_number, len(report.left_out)) == (0, 0, None, 1)


# Dry runs, and what is passed over.


async def test_a_dry_run_says_the_same_and_writes_nothing(world: World) -> None:
    lines = [line("09:00:00", "12"), line("10:00:00", "-3"), line("09:00:00", "1", user="bob")]
    before = await world.everything()
    foreseen = await world.import_lines(*lines, dry_run=True)
    assert await world.everything() == before
    assert replace(await world.import_lines(*lines), import_number=None) == foreseen


async def test_a_dry_run_finds_the_same_faults(world: World) -> None:
    with pytest.raises(ImportRefused):
        await world.import_lines(line("09:00:00", "-12"), dry_run=True)


async def test_an_export_of_nothing_imports_nothing(world: World) -> None:
    before = await world.everything()
    report = await world.import_lines()
    assert (report.imported, report.users) == (0, 0)
    assert await world.everything() == before


async def test_lines_of_other_accounts_and_of_nothing_are_counted(world: World) -> None:
    report = await world.import_lines(
        line("09:00:00", "12"), line("09:00:00", "0"), line("09:00:00", "5").replace("Spot", "Earn")
    )
    assert (report.imported, report.skipped_zero, report.skipped_not_spot) == (1, 1, 1)


async def test_one_bad_line_and_nothing_is_imported(world: World) -> None:
    good = [line("09:00:00", "12", user=f"user{number}") for number in range(500)]
    assert await refused(world, *good, line("09:00:00", "one")) == [(502, "'one' is not a number")]


async def test_thousands_of_lines_are_one_import(world: World) -> None:
    lines = [
        line(f"2026-{1 + n % 9:02}-{1 + n % 28:02} {n % 24:02}:{n % 60:02}:{n % 59:02}", "1.5", user=f"u{n % 300}")
        for n in range(5_000)
    ]
    told: list[tuple[str, int]] = []
    export = parse_export("\n".join([EXPORT_HEADER, *lines]).encode())

    report = await import_export(
        world.ledger, export, now=LONG_AGO, by=BY_A_TEST, on_progress=lambda *said: told.append(said)
    )

    assert (report.imported, report.users) == (5_000, 300)
    assert told == sorted(set(told))
    assert (told[0], told[1], told[-1]) == (("checking", 0), ("checking", 5_000), ("importing", 5_000))
    assert await world.sql("SELECT sum(balance) FROM accounts WHERE kind = 'spot'") == [(5_000 * units("1.5"),)]
