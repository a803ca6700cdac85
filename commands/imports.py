"""import, imports: bring transaction history exports into the ledger, each movement once, and undo an import."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.arguments import NewOption, OperatorOption, OptionalReasonOption, ReasonOption
from commands.entrance import the_ledger
from commands.output import (
    Column,
    JsonOption,
    instant_text,
    lines_done,
    plain,
    print_fields,
    print_json,
    print_table,
)
from ledger.imports.export_files import read_export_files
from ledger.imports.export_words import folded, is_spot
from ledger.imports.export_zone import parse_zone, zone_of_export
from ledger.imports.history_export import (
    Accounts,
    BadLine,
    Export,
    ExportError,
    check_accounts,
    combined,
    parse_export,
)
from ledger.imports.importing import ImportRefused, ImportReport, ImportStopped, import_export
from ledger.imports.opening_balances import with_opening_balances
from ledger.imports.plan import Answer
from ledger.imports.records import (
    ImportedBy,
    RecordedImport,
    Undone,
    list_imports,
    read_import,
    spans_of_import,
    undo_import,
)
from running.process import FAILED, CommandFailed, now, run, say
from staking.days import in_utc

app = typer.Typer(no_args_is_help=True, help="Imports as a whole: list them, look at one, undo one.")

_ZONE_IS_MISSING = (
    "{file}: the time zone of its times is not known. An export with the header Time has them in the "
    "account's own zone, which the file's name shows, as in (UTC+9); say --timezone UTC+9, or --timezone UTC"
)


def _zone(text: str) -> Any:
    try:
        return parse_zone(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


NumberArgument = Annotated[int, typer.Argument(metavar="N", min=1, help="The number that `imports list` shows.")]


FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE.csv",
        help="The export of the transaction history, as CSV or as the ZIP that was downloaded; all its parts, "
        "if it has some.",
    ),
]
ZoneOption = Annotated[
    Any,
    typer.Option(
        parser=_zone,
        metavar="ZONE",
        help="The zone of the times, if the file's name and header do not show it: UTC, Europe/Paris, UTC+9, -6.",
    ),
]
SpotAccountOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="The name of an account in the file that is Spot under another name."),
]
SkipAccountOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="The name of an account in the file that is not Spot.")
]
OpeningOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="What was held when the history begins, where that is not its beginning: CSV user,asset,amount, "
        "and at where it is not just before the user's first line.",
    ),
]
SameOption = Annotated[
    bool, typer.Option("--same", help="Doubtful lines are the movements that were imported before.")
]
AgainOption = Annotated[bool, typer.Option("--again", help="Doubtful lines are further movements.")]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Leave out all lines of a user if one of them is wrong.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check everything and write nothing.")]


def import_(
    files: FilesArgument,
    operator: OperatorOption,
    timezone: ZoneOption = None,
    spot_account: SpotAccountOption = None,
    skip_account: SkipAccountOption = None,
    opening: OpeningOption = None,
    same: SameOption = False,
    again: AgainOption = False,
    partial: PartialOption = False,
    dry_run: DryRunOption = False,
    new: NewOption = False,
    reason: OptionalReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import spot movements from a transaction history export.

    Everything is checked first, and nothing is written unless every line is good. A movement that was imported
    before is recognised by user, time, asset and amount, and skipped. If this export and an earlier one have only
    one instant in common, equal lines at that instant are doubtful: say whether they are the --same movements or
    happened --again. When clocks go back, a local time occurs twice; it then means the first of the two.
    """
    if new and dry_run:
        raise typer.BadParameter("--dry-run writes nothing, and --new makes a ledger: choose one of them")
    if same and again:
        raise typer.BadParameter("doubtful lines are either --same or --again, not both")
    answer: Answer | None = "same" if same else "again" if again else None
    started_at = in_utc(now())
    accounts = _accounts(spot_account or [], skip_account or [])
    with lines_done(quiet=as_json) as show:
        source = _read(files, timezone, started_at, accounts, show)
    if opening is not None:
        source = _opened(source, opening)
    export, names = source.export, source.names
    by = ImportedBy(names, ", ".join(source.zones), operator, reason)

    async def work() -> ImportReport:
        with lines_done(quiet=as_json) as show:
            async with the_ledger(new=new) as ledger:
                return await import_export(
                    ledger,
                    export,
                    now=started_at,
                    by=by,
                    answer=answer,
                    partial=partial,
                    dry_run=dry_run,
                    on_progress=lambda doing, done: show(doing, done, len(export.lines)),
                )

    try:
        report = run(work())
    except ImportRefused as error:
        _print_refusal(error, names, imported=0, partial=partial, as_json=as_json)
        raise typer.Exit(FAILED) from None
    except ImportStopped as error:
        _print_refusal(error.refusal, names, imported=error.imported, partial=partial, as_json=as_json)
        if not as_json:
            say(str(error))
        raise typer.Exit(FAILED) from None
    if as_json:
        print_json({"dry_run": dry_run, **asdict(report), "files": names, "zones": source.zones})
    else:
        _print_report(files, source, report, dry_run=dry_run)
    if report.left_out:
        raise typer.Exit(FAILED)


@dataclass(frozen=True)
class ReadFiles:
    """The content of all files of one export."""

    export: Export
    names: list[str]
    """The name of each file, also of files in a ZIP."""
    zones: list[str]
    """The time zone of their times."""


def _accounts(spot: Sequence[str], skipped: Sequence[str]) -> Accounts:
    said = Accounts(frozenset(map(folded, spot)), frozenset(map(folded, skipped)))
    for name in skipped:
        if is_spot(name):
            raise typer.BadParameter(f"{name} is the account that is imported; --skip-account is for others")
        if folded(name) in said.spot:
            raise typer.BadParameter(f"the account {name} is either --spot-account or --skip-account, not both")
    return said


def _read(
    files: Sequence[Path],
    said: tzinfo | None,
    now: datetime,
    accounts: Accounts,
    show: Callable[[str, int, int], None],
) -> ReadFiles:
    """Raises ExportError for a file that is not such an export, and CommandFailed if a file has no time zone."""
    zones: set[str] = set()
    names: list[str] = []
    exports: list[Export] = []
    for part in (part for file in files for part in read_export_files(file)):
        with naming(part.name):
            zone = zone_of_export(part.content, part.name, said=said)
            if zone is None:
                raise CommandFailed(_ZONE_IS_MISSING.format(file=part.name))
            tell = _telling(show, f"reading {plain(part.name)}", part.content.count(b"\n"))
            exports.append(parse_export(part.content, zone=zone, now=now, accounts=accounts, on_progress=tell))
        zones.add(str(zone))
        names.append(part.name)
    export = combined(exports)
    check_accounts(export, names)
    return ReadFiles(export, names, sorted(zones))


def _telling(show: Callable[[str, int, int], None], doing: str, total: int) -> Callable[[int], None]:
    return lambda done: show(doing, done, total)


def _opened(source: ReadFiles, opening: Path) -> ReadFiles:
    """Adds the opening balances in a file. Raises ExportError if it is not such a file."""
    export, names = source.export, list(source.names)
    for part in read_export_files(opening):
        with naming(part.name):
            export = with_opening_balances(export, part.content, file=len(names))
        names.append(part.name)
    return ReadFiles(export, names, source.zones)


@contextmanager
def naming(file: str) -> Generator[None]:
    """Puts the file's name before an error message that does not have it."""
    try:
        yield
    except ExportError as error:
        raise error if file in str(error) else ExportError(f"{file}: {error}") from None


def why_skipped(export: Export, asset: str) -> str:
    """Why an asset's lines were skipped."""
    is_too_fine = any(line.asset == asset for line in export.too_fine)
    fault = "have more than 8 decimals" if is_too_fine else "pass 90 billion"
    return f"it is outside the program and its amounts {fault}"


def refusal_sentences(refusal: ImportRefused, files: Sequence[str], *, partial: bool = False) -> list[str]:
    """Every bad and doubtful line with its number, and what follows from them."""
    sentences = _lines(refusal.bad, files) + _lines(refusal.doubts, files)
    if partial and (nobodys := sum(line.user_id is None for line in refusal.bad)):
        whose = "1 line" if nobodys == 1 else f"{nobodys} lines"
        sentences.append(
            f"nothing was imported: --partial leaves out users, and nobody knows whose {whose} of these would be; "
            "mend them first"
        )
    elif refusal.bad:
        count = len(refusal.bad)
        sentences.append(f"nothing was imported: mend the {count} bad line{'s' if count > 1 else ''} first")
    else:
        sentences.append(
            "nothing was imported: say --same or --again, or import parts of one export in one command"
        )
    return sentences


def _lines(bad: Sequence[BadLine], files: Sequence[str]) -> list[str]:
    heads = [f"{file}, " for file in files] if len(files) > 1 else [""]
    return [f"{heads[line.file]}line {line.number}: {line.problem}" for line in bad]


def _print_refusal(
    refusal: ImportRefused, files: Sequence[str], *, imported: int, partial: bool, as_json: bool
) -> None:
    if as_json:
        answer = {"imported": imported, "bad": [asdict(line) for line in refusal.bad]}
        print_json({**answer, "doubts": [asdict(line) for line in refusal.doubts]})
        return
    sentences = refusal_sentences(refusal, files, partial=partial)
    for sentence in sentences[:-1] if imported else sentences:
        say(sentence)


def _print_report(files: Sequence[Path], source: ReadFiles, report: ImportReport, *, dry_run: bool) -> None:
    verb = "would import" if dry_run else "imported"
    named = ", ".join(str(file) for file in files)
    print(f"{named}: {verb} {report.imported} movements of {report.users} users.")
    print(f"  times read in {' and '.join(source.zones)}")
    if report.imported and not dry_run:
        number = report.import_number
        print(f"  it is import {number}; to take it back: starter.py imports undo {number} --reason TEXT")
    notes = {
        "imported before and skipped": report.already_imported,
        "in closed days, so they count from the end of those": report.in_closed_days,
        **{f"skipped, of account {plain(name)}": count for name, count in report.skipped_accounts.items()},
        "skipped, zero change": report.skipped_zero,
    }
    for note, count in notes.items():
        if count:
            print(f"  {count} lines {note}")
    for asset, count in report.skipped_assets.items():
        print(f"  {count} lines of {asset} skipped: {why_skipped(source.export, asset)}")
    if report.left_out:
        users = sorted({line.user_id for line in report.left_out if line.user_id is not None})
        for sentence in _lines(report.left_out, source.names):
            say(sentence)
        say(f"left out whole: {len(users)} user{'s' if len(users) > 1 else ''} ({', '.join(users)})")


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Print every import, the newest last: its files, who imported them, and what became of the import.

    Example: python starter.py imports list
    """

    async def work() -> list[RecordedImport]:
        async with the_ledger() as ledger, ledger.read(takes_long=True) as connection:
            return await list_imports(connection)

    found = run(work())
    if as_json:
        print_json([_import_json(one) for one in found])
        return
    columns = [
        Column("import", is_number=True),
        Column("recorded at"),
        Column("state"),
        Column("movements", is_number=True),
        Column("users", is_number=True),
        Column("reversed", is_number=True),
        Column("operator"),
        Column("files", is_prose=True),
    ]
    print_table(columns, [_row(one) for one in found])


def _row(one: RecordedImport) -> list[str]:
    counts = [str(one.movements), str(one.users), str(one.taken_back) if one.taken_back else ""]
    files = ", ".join(one.files)
    return [str(one.import_number), instant_text(one.recorded_at), one.state, *counts, one.operator, files]


@app.command()
def show(number: NumberArgument, as_json: JsonOption = False) -> None:
    """Print one import, with the first and the last instant that it covers for each user.

    Example: python starter.py imports show 3
    """

    async def work() -> tuple[RecordedImport, dict[str, Any]]:
        async with the_ledger() as ledger, ledger.read(takes_long=True) as connection:
            return await read_import(connection, number), await spans_of_import(connection, number)

    found, spans = run(work())
    if as_json:
        of_users = [{"user": user, "first": span.first, "last": span.last} for user, span in spans.items()]
        print_json({**_import_json(found), "spans": of_users})
        return
    print_fields(
        {
            "import": str(found.import_number),
            "state": found.state,
            "files": ", ".join(found.files),
            "zone": found.zone,
            "doubtful lines": {"same": "the same", "again": "further ones"}.get(found.answer or "", ""),
            "operator": found.operator,
            "reason": found.reason or "",
            "recorded at": instant_text(found.recorded_at),
            "undone at": instant_text(found.undone_at) if found.undone_at else "",
            "movements": str(found.movements),
            "reversed": str(found.taken_back),
        }
    )
    rows = [[user, instant_text(span.first), instant_text(span.last)] for user, span in spans.items()]
    print_table([Column("user"), Column("first"), Column("last")], rows)


@app.command()
def undo(
    number: NumberArgument,
    reason: ReasonOption,
    operator: OperatorOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be undone.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Undo an import: reverse all of its entries that are not reversed yet, or none if a balance does not allow
    it.

    The reversals count from now on, as every correction does; closed days stay as they are. If the command is
    interrupted, run it again, and it goes on. Afterwards the same file may be imported again.

    Example: python starter.py imports undo 3 --reason "wrong time zone"
    """

    async def work() -> Undone:
        with lines_done(quiet=as_json) as show:
            async with the_ledger() as ledger:
                return await undo_import(
                    ledger,
                    number,
                    reason=reason,
                    operator=operator,
                    now=in_utc(now()),
                    dry_run=dry_run,
                    on_progress=lambda done, total: show("reversing", done, total),
                )

    done = run(work())
    if as_json:
        print_json(asdict(done))
        return
    verb = "would reverse" if dry_run else "reversed"
    before = f"; {done.taken_back_already} were reversed before" if done.taken_back_already else ""
    print(f"import {number}: {verb} {done.taken_back} movements of {done.users} users{before}.")


def _import_json(one: RecordedImport) -> dict[str, Any]:
    return {**asdict(one), "state": one.state}
