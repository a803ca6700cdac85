"""pool fund, show."""

from typing import Annotated

import typer

from commands.entrance import now, run, the_ledger
from commands.output import Column, JsonOption, amounts, print_json, print_table
from ledger.pools import fund_pool, pool_balances
from staking.money import format_amount, parse_amount

app = typer.Typer(no_args_is_help=True, help="The reward pools, out of which rewards are paid.")

_KEY_LENGTH_MAX = 200


def _amount(text: str) -> int:
    try:
        amount = parse_amount(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if amount <= 0:
        raise typer.BadParameter(f"{text} is not above zero")
    return amount


def _key(text: str | None) -> str | None:
    # An empty one is a variable that was never set: it would make every later funding a repeat of the first.
    if text is not None and not 1 <= len(text) <= _KEY_LENGTH_MAX:
        raise typer.BadParameter(f"a key has 1 to {_KEY_LENGTH_MAX} characters, this one has {len(text)}")
    return text


@app.command(context_settings={"ignore_unknown_options": True})
def fund(
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="A program asset, such as SOL.")],
    amount: Annotated[int, typer.Argument(parser=_amount, metavar="AMOUNT", help="Tokens, such as 1000.")],
    key: Annotated[
        str | None, typer.Option(callback=_key, help="Idempotency key: the same key again changes nothing.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put tokens into an asset's reward pool. Credits that wait for it are paid soon after."""

    async def work() -> int:
        async with the_ledger() as ledger:
            return await fund_pool(ledger, asset, amount, now=now(), idempotency_key=key)

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
