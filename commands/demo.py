"""demo: the main job on an embedded default, from an export to paid rewards and a proof."""

import asyncio
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from temporalio.client import Client

from commands.audit import audited, print_audit
from commands.imports import naming, refusal_sentences, why_skipped
from commands.output import (
    DEMO_COLUMNS,
    JsonOption,
    plain,
    print_json,
    progress,
)
from commands.program import read_program
from commands.reward_tables import print_calendar, print_totals
from contract.answers import Refusal
from embedded.temporal_server import throwaway_server
from ledger.auditing.audit import Audit
from ledger.database.engine import Ledger, make_ledger, open_ledger
from ledger.imports.export_files import read_export_files
from ledger.imports.export_words import is_another_account
from ledger.imports.export_zone import zone_of_export
from ledger.imports.history_export import Accounts, Export, ExportLine, combined, parse_export
from ledger.imports.importing import ImportRefused, ImportReport, import_export, lines_by_user
from ledger.imports.records import ImportedBy
from ledger.pools import fund_pool
from ledger.programs import apply_program
from ledger.reading.statement_text import reward_row
from ledger.reading.statements import StatementLine, credited_days, statement
from running.process import CommandFailed, now, run, say
from running.worker import build_worker
from settings import SHIPPED_PROGRAM_FILE, sqlite_url
from staking.days import ONE_DAY, day_of, start_of
from staking.models import Activation, BackDating
from staking.money import MAX_ACCOUNT_UNITS, UNITS_PER_TOKEN
from staking.program import Program
from staking.rewards import daily_reward, formula_on
from staking.tag import qualifies
from temporal.client import SoftStakingClient, send_activation
from temporal.connection import connect
from workflows.showing import pools_waited_for

REGION = "FR"
SAMPLE_MOVEMENTS_FILE = SHIPPED_PROGRAM_FILE.parent / "examples" / "transactions.csv"
_ACTIVATIONS_AT_ONCE = 20
_POLL_INTERVAL_S = 0.1
_OPERATOR, _REASON = "demo", "the demonstration"
_LOOK_FOR_TROUBLE_EVERY = 50
_BEFORE = """\
A demonstration of about half a minute, with {movements} movements of {users} users from {file},
moved by whole days so that they end yesterday. It starts a Temporal server and a ledger of its own,
and throws both away. A workflow for each user then pays every day that is owed.
You will see what became of each user's days, what was paid in all, and the audit: the ledger's proof
that nothing was paid twice and nothing was lost.
"""
_AFTERWARDS = """
Next: `make run` starts an installation that stays, with sample users to look in as, at
http://127.0.0.1:8080; README.md goes on from there. docs/rules.md redoes a reward by hand, and
`starter.py demo --movements FILE.csv` shows an export of your own."""


@dataclass(frozen=True)
class DemoResult:
    """The result of the demonstration."""

    lines: list[StatementLine]
    audit: Audit
    last_day: date


def demo(
    movements: Annotated[
        Path, typer.Option(metavar="FILE.csv", help="A transaction history export.")
    ] = SAMPLE_MOVEMENTS_FILE,
    program: Annotated[Path, typer.Option(metavar="FILE.toml", help="A program file.")] = SHIPPED_PROGRAM_FILE,
    as_json: JsonOption = False,
) -> None:
    """Show the main job: real workflows pay every owed day of an export, and the ledger proves itself.

    Starts a Temporal server and a ledger of its own and throws both away. The movements are shifted by whole days
    so that the last Spot line falls on yesterday (UTC); every user is activated, back-dated to the first instant
    at which that user qualifies.
    """
    started_at = now()
    terms = read_program(program)
    export, names, remarks = _read(movements)
    if not as_json:
        for remark in remarks:
            say(remark)
        say(_BEFORE.format(movements=len(export.lines), users=len(export.users), file=movements))
    result = run(_demonstrate(export, names, terms, started_at))
    if as_json:
        rows = [reward_row(line) for line in result.lines]
        print_json([{column: row[column] for column in DEMO_COLUMNS} for row in rows])
    else:
        print_calendar(result.lines, last_day=result.last_day)
        print_totals(result.lines, terms)
        print_audit(result.audit)
    if not result.audit.is_clean:
        raise CommandFailed("the audit found the ledger broken")
    if not as_json:
        say(_AFTERWARDS)


def _read(movements: Path) -> tuple[Export, list[str], list[str]]:
    """The content of the file, the names of its parts, and what was assumed. Assumptions do no harm here, since no
    real balance changes."""
    exports: list[Export] = []
    names: list[str] = []
    remarks: list[str] = []
    for part in read_export_files(movements):
        with naming(part.name):
            zone = zone_of_export(part.content, part.name, said=None)
            exports.append(parse_export(part.content, zone=zone or UTC, accounts=Accounts(skips_unknown=True)))
        names.append(part.name)
        if zone is None:
            remarks.append(f"the time zone of {part.name} is not known; its times are taken as UTC")
    export = combined(exports)
    if unknown := [plain(name) or "''" for name in export.skipped_accounts if not is_another_account(name)]:
        remarks.append(f"it is not known whether account {', '.join(unknown)} is Spot; it is taken as another one")
    once = [line for lines in lines_by_user(export).values() for line in lines]
    return replace(export, lines=once), names, remarks


async def _demonstrate(export: Export, names: list[str], program: Program, started_at: datetime) -> DemoResult:
    yesterday = day_of(started_at) - ONE_DAY
    shifted = _shifted(export, yesterday)
    with tempfile.TemporaryDirectory(prefix="soft-staking-demo-") as folder:
        url = sqlite_url(Path(folder) / "ledger.db")
        await make_ledger(url)
        async with throwaway_server() as address, open_ledger(url) as ledger:
            report = await _set_up(ledger, shifted, names, program, started_at, yesterday)
            activations = _activation_instants(shifted, program, report, started_at)
            client = await connect({"target_host": address})
            async with build_worker(client, ledger):
                await _activate_all(client, activations, program)
                await _until_all_is_credited(ledger, client, activations, yesterday)
            async with ledger.read() as connection:
                lines = await statement(connection, last=yesterday)
            return DemoResult(
                lines=sorted(lines, key=lambda line: (line.user_id, line.day, line.asset)),
                audit=await audited(ledger, now=started_at),
                last_day=yesterday,
            )


def _shifted(export: Export, yesterday: date) -> Export:
    """The export with its last Spot line on yesterday."""
    if export.last_spot_instant is None:
        return export
    shift = timedelta(days=(yesterday - day_of(export.last_spot_instant)).days)
    lines = [replace(line, instant=line.instant + shift) for line in export.lines]
    return replace(export, lines=lines)


async def _set_up(
    ledger: Ledger,
    export: Export,
    names: list[str],
    program: Program,
    started_at: datetime,
    yesterday: date,
) -> ImportReport:
    await apply_program(ledger, program, operator=_OPERATOR, reason=_REASON, now=started_at)
    by = ImportedBy(names, "UTC", _OPERATOR, _REASON)
    try:
        report = await import_export(ledger, export, now=started_at, by=by)
    except ImportRefused as error:
        raise CommandFailed(*refusal_sentences(error, names)) from None
    for asset, count in report.skipped_assets.items():
        say(f"{count} lines of {asset} are skipped: {why_skipped(export, asset)}")
    first_day = min((day_of(line.instant) for line in export.lines), default=yesterday)
    days = (yesterday - first_day).days + 1
    for asset, terms in program.assets.items():
        a_day = daily_reward(terms.cap_units, terms, formula_on(yesterday))
        enough = (a_day * days * report.users // UNITS_PER_TOKEN + 1) * UNITS_PER_TOKEN
        await fund_pool(
            ledger, asset, min(enough, MAX_ACCOUNT_UNITS), operator=_OPERATOR, reason=_REASON, now=started_at
        )
    return report


def _activation_instants(
    export: Export, program: Program, report: ImportReport, started_at: datetime
) -> dict[str, datetime]:
    """For each user, the first instant after the program's start at which rule 7 allows an activation."""
    by_user: dict[str, defaultdict[datetime, list[ExportLine]]] = {
        user_id: defaultdict(list) for user_id in export.users
    }
    for line in export.lines:
        if line.asset not in report.skipped_assets:
            by_user[line.user_id][line.instant].append(line)
    instants: dict[str, datetime] = {}
    for user_id, movements in sorted(by_user.items()):
        first = None if program.restricts(REGION) else _first_qualifying(movements, program, started_at)
        if first is None:
            say(f"user {user_id} never qualifies and is not activated")
        else:
            instants[user_id] = first
    return instants


def _first_qualifying(
    movements: dict[datetime, list[ExportLine]], program: Program, started_at: datetime
) -> datetime | None:
    holdings: defaultdict[str, int] = defaultdict(int)
    earliest = start_of(program.effective_from)
    for instant in sorted({*movements, earliest}):
        for line in movements.get(instant, []):
            holdings[line.asset] += line.change
        qualified = any(qualifies(holdings[asset], terms) for asset, terms in program.assets.items())
        if earliest <= instant <= started_at and qualified:
            return instant
    return None


async def _activate_all(client: Client, instants: dict[str, datetime], program: Program) -> None:
    at_once = asyncio.Semaphore(_ACTIVATIONS_AT_ONCE)

    async def activate(user_id: str, instant: datetime) -> None:
        back_dating = BackDating(activated_at=instant, operator=_OPERATOR, reason="first qualifying instant")
        activation = Activation(region=REGION, channel="web", documents=program.documents, back_dating=back_dating)
        async with at_once:
            answer = await send_activation(client, user_id, activation, timeout=timedelta(minutes=1))
        if isinstance(answer, Refusal):
            reasons = ", ".join(reason.code for reason in answer.reasons)
            raise CommandFailed(f"user {user_id} was refused: {reasons}")

    await asyncio.gather(*(activate(user_id, instant) for user_id, instant in instants.items()))


async def _until_all_is_credited(
    ledger: Ledger, client: Client, instants: dict[str, datetime], yesterday: date
) -> None:
    expected = sum(max((yesterday - day_of(instant)).days, 0) for instant in instants.values())
    columns = (TextColumn("paying owed days"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with progress(*columns) as shown:
        task = shown.add_task("", total=expected)
        looks = 0
        while True:
            async with ledger.read() as connection:
                credited = await credited_days(connection, last=yesterday)
            shown.update(task, completed=credited)
            if credited >= expected:
                return
            looks += 1
            if looks % _LOOK_FOR_TROUBLE_EVERY == 0:
                await _raise_if_stuck(client, instants)
            await asyncio.sleep(_POLL_INTERVAL_S)


async def _raise_if_stuck(client: Client, instants: dict[str, datetime]) -> None:
    """If a step is blocked, the demonstration would wait for ever."""
    service = SoftStakingClient(client)
    for user_id in instants:
        status = await service.status(user_id)
        if status and status.blocked:
            raise CommandFailed(f"user {user_id} is blocked at {status.blocked.step}: {status.blocked.message}")
        if status and pools_waited_for(status.state):
            raise CommandFailed(f"user {user_id} is {status.state}: these rewards pass the 90 billion of a pool")
