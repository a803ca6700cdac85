"""pool fund, show."""

from typing import Annotated

import typer

from commands.arguments import (
    NUMBERS_MAY_BE_NEGATIVE,
    OperatorOption,
    OptionalReasonOption,
    amount_above_zero,
    idempotency_key,
)
from commands.entrance import now, run, the_ledger
from commands.output import Column, JsonOption, amounts, print_json, print_table
from ledger.pools import fund_pool, pool_balances
from staking.money import format_amount

app = typer.Typer(no_args_is_help=True, help="The reward pools, out of which rewards are paid.")


@app.command(context_settings=NUMBERS_MAY_BE_NEGATIVE)
def fund(
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="A program asset, such as SOL.")],
    amount: Annotated[
        int, typer.Argument(parser=amount_above_zero, metavar="AMOUNT", help="Tokens, such as 1000.")
    ],
    operator: OperatorOption,
    key: Annotated[
        str | None,
        typer.Option(callback=idempotency_key, help="Idempotency key: the same key again changes nothing."),
    ] = None,
    reason: OptionalReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put tokens into an asset's reward pool. Credits that wait for it are paid soon after.

    Who did it and why is among the acts. `ledger show --pool` has the entry, with which it can be taken back.
    """

    async def work() -> int:
        async with the_ledger() as ledger:
            return await fund_pool(
                ledger, asset, amount, operator=operator, reason=reason, now=now(), idempotency_key=key
            )

    balance = format_amount(run(work()))
    if as_json:
        print_json({"asset": asset, "funded": format_amount(amount), "balance": balance})
    else:
        print(f"the {asset} pool now holds {balance}.")


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Print what is in each pool."""

    async def work() -> dict[str, int]:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await pool_balances(connection)

    balances = amounts(run(work()))
    if as_json:
        print_json(balances)
    elif balances:
        print_table([Column("asset"), Column("balance", True)], [[*row] for row in balances.items()])
    else:
        print("no pool has been funded; fund one with: starter.py pool fund SOL 1000")
