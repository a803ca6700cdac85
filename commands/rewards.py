"""rewards: a line for every accrual day and asset, from which each reward can be recomputed by hand."""

from datetime import date
from typing import Annotated

import typer

from commands.enrolment import UserArgument
from commands.entrance import run, the_ledger
from commands.output import REWARD_COLUMNS, Column, JsonOption, print_csv, print_json, print_table, reward_row
from ledger.statements import StatementLine, statement


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text[:40]!r} is not a day such as 2026-10-01") from None


def rewards(
    user: UserArgument,
    first: Annotated[
        date | None, typer.Option("--from", parser=_day, metavar="DAY", help="First day (UTC).")
    ] = None,
    last: Annotated[date | None, typer.Option("--to", parser=_day, metavar="DAY", help="Last day (UTC).")] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
) -> None:
    """A user's rewards, a line per accrual day and asset, zero days with their reason.

    reward = floor to 8 places of min(average, cap) x APR / 365.
    """
    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv, not both")
    if first and last and first > last:
        raise typer.BadParameter(f"--from {first} is after --to {last}")

    async def work() -> list[StatementLine]:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await statement(connection, [user], first=first, last=last)

    rows = [reward_row(line) for line in run(work())]
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(REWARD_COLUMNS, rows)
    elif rows:
        numbers = {"opening", "closing", "average", "minimum", "cap", "apr", "reward"}
        shown = [column for column in REWARD_COLUMNS if column not in ("user", "credited_at", "entry_id")]
        print_table(
            [Column(column, is_number=column in numbers) for column in shown],
            [[_text(row[column]) for column in shown] for row in rows],
            title=f"Rewards of {user}",
        )
    else:
        print(f"{user} has no rewards yet.")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "late" if value else ""
    return str(value)
