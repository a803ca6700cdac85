"""rewards: print a line for every accrual day and asset, from which each reward can be recomputed by hand."""

from datetime import date
from enum import StrEnum
from typing import Annotated

import typer

from commands.arguments import UserArgument, day_argument
from commands.entrance import the_ledger
from commands.known_users import refuse_stranger_to_ledger
from commands.output import Column, JsonOption, instant_text, print_json, print_table
from ledger.reading.reward_entries import RewardEntry, reward_entries
from ledger.reading.statement_text import (
    COMPUTED_COLUMNS,
    ENTRY_COLUMNS,
    csv_header,
    csv_text,
    entries_csv_text,
    entry_row,
    reward_row,
)
from ledger.reading.statements import StatementLine, statement, statement_in_parts
from running.process import run

_SPARE = {"cap": 6, "minimum": 5, "apr": 4, "opening": 3, "closing": 2, "average": 1}
"""The columns that a narrow terminal leaves out, the highest number first."""
_NUMBERS = ("opening", "closing", "average", "minimum", "cap", "apr", "reward")


class Form(StrEnum):
    """What the lines are."""

    DAYS = "days"
    ENTRIES = "entries"


def rewards(
    user: UserArgument,
    first: Annotated[
        date | None,
        typer.Option(
            "--from",
            parser=day_argument,
            metavar="DAY",
            help="First day (UTC); with --as entries, the first day of recording.",
        ),
    ] = None,
    last: Annotated[
        date | None,
        typer.Option(
            "--to",
            parser=day_argument,
            metavar="DAY",
            help="Last day (UTC); with --as entries, the last day of recording.",
        ),
    ] = None,
    form: Annotated[
        Form, typer.Option("--as", help="A line for each day, or for each credit and each reversal.")
    ] = Form.DAYS,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
) -> None:
    """Print a user's rewards: a line for each accrual day and asset. A day that earned nothing has its reason.

    reward = floor to 8 places of min(average, cap) x APR / 365.

    For bookkeeping use --as entries: what was paid and what was reversed, in the order in which it was recorded. A
    line never changes, and new lines come only at the end.
    """
    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv, not both")
    if first and last and first > last:
        raise typer.BadParameter(f"--from {first} is after --to {last}")

    if form is Form.ENTRIES:
        _print_entries(user, run(_entries(user, first, last)), as_json=as_json, as_csv=as_csv)
        return
    if as_csv:
        run(_print_csv(user, first, last))
        return

    async def work() -> list[StatementLine]:
        async with the_ledger() as ledger:
            await refuse_stranger_to_ledger(ledger, user)
            async with ledger.read() as connection:
                return await statement(connection, [user], first=first, last=last)

    lines = run(work())
    if as_json:
        print_json([reward_row(line) for line in lines])
    elif lines:
        _print_table(user, lines)
    else:
        print(f"{user} has no rewards yet.")


async def _entries(user: str, first: date | None, last: date | None) -> list[RewardEntry]:
    async with the_ledger() as ledger:
        await refuse_stranger_to_ledger(ledger, user)
        async with ledger.read() as connection:
            return await reward_entries(connection, user, first=first, last=last)


def _print_entries(user: str, entries: list[RewardEntry], *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        print_json([entry_row(entry) for entry in entries])
    elif as_csv:
        print(csv_header(ENTRY_COLUMNS) + entries_csv_text(entries), end="")
    elif entries:
        print_entries(user, entries)
    else:
        print(f"{user} has no rewards yet.")


def print_entries(user: str, entries: list[RewardEntry]) -> None:
    """A row for each credit and each reversal."""
    rows = [
        entry_row(entry) | {"recorded_at": instant_text(entry.recorded_at), "reverses": entry.reverses or ""}
        for entry in entries
    ]
    columns = {
        "entry_id": Column("entry", is_number=True),
        "recorded_at": Column("recorded at", spare=1),
        "day": Column("day"),
        "asset": Column("asset"),
        "amount": Column("amount", is_number=True),
        "reverses": Column("reverses", is_number=True),
    }
    print_table(
        list(columns.values()),
        [[str(row[name]) for name in columns] for row in rows],
        title=f"Rewards of {user} as entries",
        other_forms="--csv or --json",
    )


async def _print_csv(user: str, first: date | None, last: date | None) -> None:
    async with the_ledger() as ledger:
        await refuse_stranger_to_ledger(ledger, user)
        print(csv_header(), end="")
        async for part in statement_in_parts(ledger, user, first=first, last=last):
            print(csv_text(part), end="")


def _print_table(user: str, lines: list[StatementLine]) -> None:
    rows = [(reward_row(line), _remark(line)) for line in lines]
    columns = [Column(name, is_number=name in _NUMBERS, spare=_SPARE.get(name, 0)) for name in COMPUTED_COLUMNS]
    print_table(
        [*columns, Column("remark")],
        [[*(str(row[name]) for name in COMPUTED_COLUMNS), remark] for row, remark in rows],
        title=f"Rewards of {user}",
        other_forms="--csv or --json",
    )


def _remark(line: StatementLine) -> str:
    remarks = {"late": line.late, "reversed": line.reversed_by is not None}
    return ", ".join(remark for remark, applies in remarks.items() if applies)
