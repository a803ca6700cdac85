"""import: a transaction history export into the ledger, all of it or nothing, each line once."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from commands.arguments import NewOption
from commands.entrance import FAILED, now, run, say, the_ledger
from commands.output import JsonOption, print_json, progress
from ledger.history_export import BadLine, parse_export, parse_zone, read_export_file
from ledger.imports import ImportRefused, ImportReport, import_export
from staking.days import in_utc


def _zone(text: str) -> Any:
    try:
        return parse_zone(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The export of the transaction history.")],
    timezone: Annotated[
        Any, typer.Option(parser=_zone, metavar="ZONE", help="Of the times: UTC, Europe/Paris, +02:00.")
    ] = "UTC",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, write nothing.")] = False,
    new: NewOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import spot movements from a transaction history export.

    The file is checked whole; nothing is written unless every line is good. Lines imported before are recognised
    and skipped. Of a local time that occurs twice when clocks go back, the first is meant.
    """
    if new and dry_run:
        raise typer.BadParameter("--dry-run writes nothing, and --new makes a ledger: choose one of them")
    started_at = in_utc(now())
    export = parse_export(read_export_file(file), zone=timezone, now=started_at)

    async def work() -> ImportReport:
        columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn())
        with progress(*columns) as shown:
            task = shown.add_task("", total=len(export.lines))
            async with the_ledger(new=new) as ledger:
                return await import_export(
                    ledger,
                    export,
                    now=started_at,
                    dry_run=dry_run,
                    on_progress=lambda done: shown.update(task, completed=done),
                )

    try:
        report = run(work())
    except ImportRefused as error:
        if as_json:
            print_json({"imported": 0, "bad": [asdict(line) for line in error.bad]})
        else:
            for sentence in refusal_sentences(error.bad):
                say(sentence)
        raise typer.Exit(FAILED) from None
    if as_json:
        print_json({"dry_run": dry_run, **asdict(report)})
    else:
        _print_report(file, report, dry_run=dry_run)


def refusal_sentences(bad: list[BadLine]) -> list[str]:
    """Every bad line with its number, and what follows from them."""
    lines = [f"line {line.number}: {line.problem}" for line in bad]
    return [*lines, f"nothing was imported: mend the {len(bad)} bad line{'s' if len(bad) > 1 else ''} first"]


def _print_report(file: Path, report: ImportReport, *, dry_run: bool) -> None:
    verb = "would import" if dry_run else "imported"
    print(f"{file}: {verb} {report.imported} movements of {report.users} users.")
    notes = {
        "imported before and skipped": report.already_imported,
        "in closed days, so they count from the end of those": report.in_closed_days,
        "skipped, not Spot": report.skipped_not_spot,
        "skipped, zero change": report.skipped_zero,
    }
    for note, count in notes.items():
        if count:
            print(f"  {count} lines {note}")
    for asset, count in report.skipped_assets.items():
        print(f"  {count} lines of {asset} skipped: it is outside the program and its amounts pass 90 billion")
