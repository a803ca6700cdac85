"""audit: the ledger proves itself."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import typer
from rich.progress import MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from commands.entrance import the_ledger
from commands.output import Column, JsonOption, print_json, print_prose, print_table, progress
from ledger.auditing.audit import Audit
from ledger.auditing.audit import audit as audit_ledger
from ledger.database.engine import Ledger
from running.process import FAILED, now, run


def audit(as_json: JsonOption = False) -> None:
    """Prove that the ledger keeps its invariants and is complete. If not, name every breach and exit with 1.

    Complete means: every accrual day up to the last boundary is closed and credited, with its snapshots and reward
    rows, or is listed as owed. A breach names the table, the row's key and the values that matter.
    """
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
    """Prints a line for each promise, every breach in full, then what is owed and what was counted."""
    rows = [
        [check.invariant, Text("broken", "red") if check.breaches else Text("holds", "green"), check.promise]
        for check in result.checks
    ]
    columns = [Column("invariant"), Column("verdict"), Column("promise", is_prose=True)]
    print_table(columns, rows, title="Audit")
    _print_breaches(result)
    _print_owed(result)
    if result.reversed_rewards:
        print_prose(f"Rewards that were reversed: {result.reversed_rewards}.")
    if result.refused_movements:
        print_prose(f"Movements of feeds that could not be posted, and wait: {result.refused_movements}.")
    verdict = "every invariant holds" if result.is_clean else "the ledger is broken"
    print_prose(
        f"{result.entries} entries, {result.postings} postings, {result.credited_days} credited days: {verdict}."
    )


def _print_breaches(result: Audit) -> None:
    for check in result.checks:
        sentences = [breach.what for breach in check.breaches]
        if check.breach_count > len(sentences):
            sentences.append(f"and {check.breach_count - len(sentences)} more")
        for sentence in sentences:
            print_prose(Text(f"{check.invariant}: {sentence}", style="red"))


def _print_owed(result: Audit) -> None:
    if not result.owed_users:
        return
    print_prose(f"Owed and not credited yet: {result.owed_days} accrual days, {result.owed_users} users.")
    columns = [Column("user"), Column("owed days", is_number=True), Column("first"), Column("last")]
    print_table(columns, [[owed.user_id, str(owed.days), str(owed.first), str(owed.last)] for owed in result.owed])
    if result.owed_users > len(result.owed):
        print(f"and {result.owed_users - len(result.owed)} more users")


def _json(result: Audit) -> dict[str, Any]:
    return {
        "clean": result.is_clean,
        "entries": result.entries,
        "postings": result.postings,
        "credited_days": result.credited_days,
        "reversed_rewards": result.reversed_rewards,
        "refused_movements": result.refused_movements,
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
