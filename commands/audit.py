"""audit: the ledger proves itself."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import typer
from rich.markup import escape
from rich.progress import MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

from commands.entrance import FAILED, now, run, the_ledger
from commands.output import Column, JsonOption, print_json, print_table, progress
from ledger.audit import Audit, Checked
from ledger.audit import audit as audit_ledger
from ledger.engine import Ledger


def audit(as_json: JsonOption = False) -> None:
    """Prove the ledger's invariants, and that every accrual day was credited or is listed as owed; exit code 1 and
    every breach named if something is broken."""
    started_at = now()

    async def work() -> Audit:
        async with the_ledger() as ledger:
            return await audited(ledger, now=started_at)

    result = run(work())
    if as_json:
        print_json(_json(result))
    else:
        print_audit(result)
    if not result.is_clean:
        raise typer.Exit(FAILED)


async def audited(ledger: Ledger, *, now: datetime) -> Audit:
    """Runs the audit with progress on stderr."""
    columns = (
        SpinnerColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("checking: {task.description}"),
    )
    with progress(*columns) as shown:
        task = shown.add_task("")

        def show(promise: str, number: int, total: int) -> None:
            shown.update(task, description=promise, completed=number, total=total)

        return await audit_ledger(ledger, now=now, on_progress=show)


def print_audit(result: Audit) -> None:
    """A line per promise, under it every breach; then what is owed and what was counted."""
    rows: list[list[str]] = []
    for check in result.checks:
        verdict = "[red]broken[/red]" if check.breaches else "[green]holds[/green]"
        rows.append([check.invariant, verdict, check.promise])
        rows += [["", "", f"[red]{escape(sentence)}[/red]"] for sentence in _sentences(check)]
    print_table([Column("invariant"), Column(""), Column("promise")], rows, title="Audit")
    _print_owed(result)
    if result.reversed_rewards:
        print(f"{result.reversed_rewards} rewards were reversed.")
    verdict = "every invariant holds" if result.is_clean else "the ledger is broken"
    print(
        f"{result.entries} entries, {result.postings} postings, {result.credited_days} credited days: {verdict}."
    )


def _sentences(check: Checked) -> list[str]:
    sentences = [breach.what for breach in check.breaches]
    more = check.breach_count - len(sentences)
    return [*sentences, f"and {more} more"] if more else sentences


def _print_owed(result: Audit) -> None:
    if not result.owed_users:
        return
    columns = [Column("user"), Column("owed days", is_number=True), Column("first"), Column("last")]
    rows = [[owed.user_id, str(owed.days), str(owed.first), str(owed.last)] for owed in result.owed]
    if result.owed_users > len(rows):
        rows.append([f"and {result.owed_users - len(rows)} more", "", "", ""])
    title = f"Owed, not credited yet: {result.owed_days} days of {result.owed_users} users"
    print_table(columns, rows, title=title)


def _json(result: Audit) -> dict[str, Any]:
    return {
        "clean": result.is_clean,
        "entries": result.entries,
        "postings": result.postings,
        "credited_days": result.credited_days,
        "reversed_rewards": result.reversed_rewards,
        "owed_users": result.owed_users,
        "owed_days": result.owed_days,
        "owed": [
            {"user": owed.user_id, "days": owed.days, "first": owed.first, "last": owed.last}
            for owed in result.owed
        ],
        "checks": [
            {
                "invariant": check.invariant,
                "promise": check.promise,
                "breach_count": check.breach_count,
                "breaches": [asdict(breach) for breach in check.breaches],
            }
            for check in result.checks
        ],
    }
