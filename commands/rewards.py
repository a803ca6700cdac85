"""rewards: a line for every accrual day and asset, from which each reward can be recomputed by hand."""

from datetime import date
from typing import Annotated

import typer

from commands.enrolment import UserArgument
from commands.entrance import day_argument, run, the_ledger
from commands.output import Column, JsonOption, print_json, print_table
from ledger.statement_text import COMPUTED_COLUMNS, csv_header, csv_text, reward_row
from ledger.statements import StatementLine, statement, statement_in_parts

_SPARE = {"cap": 6, "minimum": 5, "apr": 4, "opening": 3, "closing": 2, "average": 1}
"""What a narrow terminal does not show, the highest first."""
_NUMBERS = ("opening", "closing", "average", "minimum", "cap", "apr", "reward")


def rewards(
    user: UserArgument,
    first: Annotated[
        date | None, typer.Option("--from", parser=day_argument, metavar="DAY", help="First day (UTC).")
    ] = None,
    last: Annotated[
        date | None, typer.Option("--to", parser=day_argument, metavar="DAY", help="Last day (UTC).")
    ] = None,
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

    if as_csv:
        run(_print_csv(user, first, last))
        return

    async def work() -> list[StatementLine]:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await statement(connection, [user], first=first, last=last)

    lines = run(work())
    if as_json:
        print_json([reward_row(line) for line in lines])
    elif lines:
        _print_table(user, lines)
    else:
        print(f"{user} has no rewards yet.")


async def _print_csv(user: str, first: date | None, last: date | None) -> None:
    async with the_ledger() as ledger:
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
