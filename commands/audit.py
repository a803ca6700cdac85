"""audit: the ledger proves itself."""

import typer
from rich.progress import SpinnerColumn, TextColumn

from commands.entrance import FAILED, run, the_ledger
from commands.output import Column, JsonOption, print_json, print_table, progress
from ledger.audit import Audit
from ledger.audit import audit as audit_ledger
from ledger.engine import Ledger


def audit(as_json: JsonOption = False) -> None:
    """Prove the ledger's invariants; exit code 1 and every breach named if one is broken."""

    async def work() -> Audit:
        async with the_ledger() as ledger:
            return await audited(ledger)

    result = run(work())
    if as_json:
        print_json(
            {
                "clean": result.is_clean,
                "entries": result.entries,
                "postings": result.postings,
                "credited_days": result.credited_days,
                "checks": [
                    {
                        "invariant": check.invariant,
                        "promise": check.promise,
                        "breaches": [breach.what for breach in check.breaches],
                    }
                    for check in result.checks
                ],
            }
        )
    else:
        print_audit(result)
    if not result.is_clean:
        raise typer.Exit(FAILED)


async def audited(ledger: Ledger) -> Audit:
    """Runs the audit with progress on stderr."""
    columns = (SpinnerColumn(), TextColumn("checking that {task.description}"))
    with progress(*columns) as shown:
        task = shown.add_task("")
        return await audit_ledger(ledger, on_progress=lambda promise: shown.update(task, description=promise))


def print_audit(result: Audit) -> None:
    """A line per check, and under it every breach."""
    rows: list[list[str]] = []
    for check in result.checks:
        verdict = "[red]broken[/red]" if check.breaches else "[green]holds[/green]"
        rows.append([check.invariant, verdict, check.promise])
        rows += [["", "", f"[red]{breach.what}[/red]"] for breach in check.breaches]
    print_table([Column("invariant"), Column(""), Column("promise")], rows, title="Audit")
    verdict = "every invariant holds" if result.is_clean else "the ledger is broken"
    print(
        f"{result.entries} entries, {result.postings} postings, {result.credited_days} credited days: {verdict}."
    )
