"""export: print balances of all users for another system."""

import csv
import json
import sys
from datetime import datetime

import typer

from commands.arguments import BoundaryOption
from commands.entrance import the_ledger
from commands.output import JsonOption
from ledger.comparing.balance_file import HEADER
from ledger.reading.boundary_balances import Balance, balances_at
from running.process import run
from staking.money import format_amount

app = typer.Typer(no_args_is_help=True, help="What the ledger has of all users, for another system.")


@app.callback()
def export() -> None:
    """Keeps the name of the one command in its group."""


@app.command()
def balances(at: BoundaryOption, as_json: JsonOption = False) -> None:
    """Print every balance above zero at a boundary as CSV, ordered by user and asset, as `reconcile` reads it.

    These are the closing balances of the day before: what counts from the boundary itself on belongs to the day
    that it opens, and is left out.

    Example: python starter.py export balances --at 2026-10-02 > balances.csv
    """
    run(_print_json(at) if as_json else _print_csv(at))


async def _print_csv(at: datetime) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    async with the_ledger() as ledger, ledger.read(takes_long=True) as connection:
        writer.writerow(HEADER)
        async for part in balances_at(connection, at):
            writer.writerows((user, asset, format_amount(units)) for user, asset, units in part)


async def _print_json(at: datetime) -> None:
    async with the_ledger() as ledger, ledger.read(takes_long=True) as connection:
        separator = "["
        async for part in balances_at(connection, at):
            for balance in part:
                sys.stdout.write(f"{separator}\n  {json.dumps(_json(balance))}")
                separator = ","
        sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _json(balance: Balance) -> dict[str, str]:
    return {"user": balance.user_id, "asset": balance.asset, "balance": format_amount(balance.units)}
