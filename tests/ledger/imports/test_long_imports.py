"""A long import is written in parts: it may be killed, others come in between, and days may close meanwhile."""

import asyncio
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL

import databases
import pytest
from world import EXPORT_HEADER, ROOT, World, at, day, paused_before, units

from ledger.imports.importing import ImportRefused, ImportStopped
from ledger.imports.records import list_imports, spans_of_import, undo_import
from staking.days import ONE_DAY

pytestmark = pytest.mark.on_both_databases

PARTS = 8
LINES = [
    f"ann,2026-10-01 {9 + n // 60:02}:{n % 60:02}:00,Spot,Deposit,SOL,{-2 if n % 4 == 3 else 1},"
    for n in range(20 * PARTS)
]
TOKENS = str(20 * PARTS // 4)
DEADLINE_S = 180
"""The limit for a process, which is reached only if something waits for ever."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "export.csv"
    path.write_text("\n".join([EXPORT_HEADER, *LINES]))
    return path


def in_a_process(folder: Path, work: str, file: Path, *, killed_in_part: int = 0) -> list[str]:
    script = Path(__file__).parent / "import_process.py"
    command = [sys.executable, str(script), databases.url_in(folder), work, str(file), str(killed_in_part)]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == (-SIGKILL if killed_in_part else 0), done.stderr
    return done.stdout.split()


async def told(world: World) -> list[tuple[str, int, int]]:
    async with world.ledger.read() as connection:
        return [(one.state, one.movements, one.taken_back) for one in await list_imports(connection)]


async def test_an_import_that_was_killed_is_unfinished_and_the_same_command_finishes_it(
    world: World, tmp_path: Path, file: Path
) -> None:
    assert in_a_process(tmp_path, "import", file, killed_in_part=4) == ["20", "40", "60"]
    assert await told(world) == [("unfinished", 60, 0)]
    assert await world.balances("ann") == {"SOL": units("15")}
    assert (await world.audit()).is_clean
    assert in_a_process(tmp_path, "import", file)[-1] == "100"
    assert await told(world) == [("done", 160, 0)]
    assert await world.balances("ann") == {"SOL": units(TOKENS)}
    assert (await world.audit()).is_clean


async def test_an_undo_that_was_killed_is_continued(world: World, tmp_path: Path, file: Path) -> None:
    in_a_process(tmp_path, "import", file)
    assert in_a_process(tmp_path, "undo", file, killed_in_part=4) == ["20", "40", "60"]
    assert await told(world) == [("done", 160, 60)]
    assert (await world.audit()).is_clean
    assert in_a_process(tmp_path, "undo", file)[-1] == "100"
    assert await told(world) == [("undone", 160, 160)]
    assert await world.balances("ann") == {"SOL": 0}
    assert (await world.audit()).is_clean


async def test_an_unfinished_import_can_be_undone(world: World, tmp_path: Path, file: Path) -> None:
    in_a_process(tmp_path, "import", file, killed_in_part=4)
    await undo_import(world.ledger, 1, reason="a mistake", operator="zoe", now=at("2026-10-05"))
    assert await told(world) == [("undone", 60, 60)]
    assert in_a_process(tmp_path, "import", file)[-1] == "160"
    assert await told(world) == [("undone", 60, 60), ("done", 160, 0)]
    assert await world.balances("ann") == {"SOL": units(TOKENS)}


async def test_what_is_left_of_a_killed_import_counts_from_the_end_of_the_days_that_were_closed_meanwhile(
    world: World, tmp_path: Path, file: Path
) -> None:
    in_a_process(tmp_path, "import", file, killed_in_part=4)
    await world.enrol("ann", at("2026-10-01 08:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    snapshot = await world.snapshot("ann", day("2026-10-01"))
    in_a_process(tmp_path, "import", file)
    assert await told(world) == [("done", 160, 0)]
    assert await world.snapshot("ann", day("2026-10-01")) == snapshot
    late = await world.sql("SELECT count(*) FROM entries WHERE occurred_at IS NOT NULL AND kind = 'movement'")
    assert [tuple(row) for row in late] == [(100,)]
    assert await world.holdings_before("ann", at("2026-10-02")) == {"SOL": units("15")}
    assert await world.balances("ann") == {"SOL": units(TOKENS)}
    second = await world.snapshot("ann", day("2026-10-01") + ONE_DAY)
    assert (second.holdings[0].opening, second.holdings[0].average) == (units("15"), units(TOKENS))
    assert (await world.audit()).is_clean


async def test_what_is_left_of_a_killed_import_is_refused_where_the_tokens_are_gone_meanwhile(
    world: World, tmp_path: Path
) -> None:
    file = tmp_path / "export.csv"
    lines = [f"ann,2026-10-01 09:00:{n:02},Spot,Deposit,SOL,1," for n in range(40)]
    file.write_text("\n".join([EXPORT_HEADER, *lines, "ann,2026-10-01 10:00:00,Spot,Withdraw,SOL,-30,"]))
    in_a_process(tmp_path, "import", file, killed_in_part=3)
    await world.move("ann", "-15", "SOL", at("2026-10-02"))
    before = await world.everything()
    with pytest.raises(ImportRefused) as refusal:
        await world.import_lines(*lines, "ann,2026-10-01 10:00:00,Spot,Withdraw,SOL,-30,")
    assert await world.everything() == before
    assert [(bad.number, bad.problem.partition(". If")[0]) for bad in refusal.value.bad] == [
        (42, "user ann's SOL balance would be -5.00000000 after 2026-10-02 00:00:00 UTC")
    ]


async def test_an_import_stops_with_the_reason_if_the_tokens_go_while_it_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.imports.importing.PART_ENTRIES", 1)
    lines = ["ann,2026-10-01 09:00:00,Spot,Deposit,SOL,12,", "ann,2026-10-01 10:00:00,Spot,Withdraw,SOL,-5,"]
    pause = paused_before(world.ledger, "INSERT INTO imports")
    long = asyncio.create_task(world.import_lines(*lines))
    await pause.reached.wait()
    withdrawal = asyncio.create_task(world.move("ann", "-12", "SOL", at("2026-10-02")))
    await asyncio.sleep(0)
    pause.resume.set()
    await withdrawal
    with pytest.raises(ImportStopped) as stopped:
        await long
    assert [(bad.number, bad.problem.partition(". If")[0]) for bad in stopped.value.refusal.bad] == [
        (3, "user ann's SOL balance would be -5.00000000 after 2026-10-02 00:00:00 UTC")
    ]
    assert await told(world) == [("unfinished", 1, 0)]
    assert (await world.audit()).is_clean


@asynccontextmanager
async def importing(folder: Path, work: str, file: Path) -> AsyncGenerator[Process]:
    script = Path(__file__).parent / "import_process.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), databases.url_in(folder), work, str(file), "0"),
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("work", ["import", "undo"])
async def test_deposits_come_in_between_the_parts_that_another_process_writes(
    world: World, tmp_path: Path, file: Path, work: str
) -> None:
    if work == "undo":
        in_a_process(tmp_path, "import", file)
    async with importing(tmp_path, work, file) as process:
        assert process.stdout is not None, "it was asked for"
        assert await process.stdout.readline() == b"20\n"
        await world.move("ann", "7", "SOL", at("2026-10-03"))
        await world.move("zoe", "7", "SOL", at("2026-10-03"))
        assert await process.wait() == 0
    deposits = await world.sql("SELECT entry_id FROM entries WHERE kind = 'deposit'")
    ((last,),) = await world.sql("SELECT max(entry_id) FROM entries WHERE kind <> 'deposit'")
    assert [entry_id < last for (entry_id,) in deposits] == [True, True]
    assert await world.balances("ann") == {"SOL": units("7" if work == "undo" else str(int(TOKENS) + 7))}
    assert await world.balances("zoe") == {"SOL": units("7")}
    assert (await world.audit()).is_clean


async def test_the_same_lines_again_write_nothing_and_wait_for_nobody(world: World) -> None:
    await world.import_lines(*LINES)
    before = await world.everything()
    async with world.ledger.write():  # SQLite has one writer at a time.
        report = await world.import_lines(*LINES)
    assert (report.imported, report.already_imported, report.import_number) == (0, 160, 1)
    assert await world.everything() == before


async def test_of_lines_of_which_some_are_known_each_is_counted_once(world: World) -> None:
    await world.import_lines(*LINES[:70])
    report = await world.import_lines(*LINES, "zoe,2026-10-01 09:00:00,Spot,Deposit,SOL,1,")
    assert (report.imported, report.already_imported, report.users) == (91, 70, 2)
    assert await world.balances("ann") == {"SOL": units(TOKENS)}


async def test_an_import_also_knows_the_users_of_whom_nothing_was_new(world: World) -> None:
    await world.import_lines(*LINES[:70])
    await world.import_lines(*LINES[:70], "zoe,2026-10-01 09:00:00,Spot,Deposit,SOL,1,")
    async with world.ledger.read() as connection:
        assert set(await spans_of_import(connection, 2)) == {"ann", "zoe"}


WORDS = ['a "quoted" word', "back\\slash", "{NULL}, {}", "NULL", "two\nlines", "a\ttab", "币安人生", "it's 100 %s"]


async def test_words_are_kept_as_they_are(world: World) -> None:
    quoted = ['"{}"'.format(text.replace('"', '""')) for text in WORDS]
    await world.import_lines(*(f"ann,2026-10-01 09:00:00,Spot,{text},SOL,1," for text in quoted))
    notes = await world.sql("SELECT note FROM entries WHERE user_id = 'ann' ORDER BY entry_id")
    assert [note for (note,) in notes] == WORDS
