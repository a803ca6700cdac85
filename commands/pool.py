"""pool fund, show."""

import shlex
from collections.abc import Mapping
from math import isinf
from typing import Annotated, Any

import typer

from commands.arguments import (
    NUMBERS_MAY_BE_NEGATIVE,
    OperatorOption,
    OptionalReasonOption,
    amount_above_zero,
    idempotency_key,
)
from commands.bulk import counted
from commands.entrance import the_ledger
from commands.output import Column, JsonOption, amounts, print_json, print_table
from ledger.pools import fund_pool
from ledger.reading.fleet import PoolFigures, pools
from running.process import now, run
from running.shell import typed
from staking.money import format_amount
from workflows.soft_staking import POOL_ASKED_AGAIN_AFTER_MAX

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

    The funding is recorded among the acts, with operator and reason. `ledger show --pool` prints its entry, which
    `ledger reverse` can reverse.
    """

    async def work() -> tuple[PoolFigures, int]:
        asked_at = now()
        async with the_ledger() as ledger:
            before = (await pools(ledger, asked_at)).get(asset, PoolFigures(0, 0.0))
            return before, await fund_pool(
                ledger, asset, amount, operator=operator, reason=reason, now=asked_at, idempotency_key=key
            )

    before, balance = run(work())
    missing = max(before.missing + before.balance - balance, 0)
    if as_json:
        answer = {"asset": asset, "funded": format_amount(amount), "balance": format_amount(balance)}
        print_json({**answer, "waiting_users": before.waiting_users, "missing": format_amount(missing)})
        return
    print(f"the {asset} pool now holds {format_amount(balance)}.")
    if before.waiting_users:
        within = f"{POOL_ASKED_AGAIN_AFTER_MAX.total_seconds() / 60:g} minutes"
        waited, asks = ("waits", "asks") if before.waiting_users == 1 else ("wait", "ask")
        print(
            f"{counted(before.waiting_users)} {waited} for it and {asks} again within {within}; to ask now: "
            f"starter.py retry --waiting-for {shlex.quote(asset)}"
        )
    if missing:
        print(f"for the days that wait it still lacks {format_amount(missing)}.")


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Print the balance of each pool, how long it lasts, and how many users wait for it.

    The table has every asset of the programs in force and to come, and every other asset with a pool. "days left"
    is what remains after the waiting days are paid, divided by the average outflow of a day; it is 0 for a pool
    that is empty or cannot pay them. "waiting" counts the users whose closed day the pool cannot pay, and
    "missing" is the amount that it lacks for that day of each of them.

    As JSON: each asset with its balance, and under "pools" everything that is known of each.
    """

    async def work() -> Mapping[str, PoolFigures]:
        async with the_ledger() as ledger:
            return await pools(ledger, now())

    found = run(work())
    if as_json:
        balances = amounts({asset: pool.balance for asset, pool in found.items()})
        print_json({**balances, "pools": [_json(asset, pool) for asset, pool in found.items()]})
        return
    if not found:
        print("there is no program, so there are no pools; apply one with: starter.py program apply FILE.toml")
        return
    columns = [
        Column("asset"),
        Column("balance", is_number=True),
        Column("paid yesterday", is_number=True, spare=2),
        Column("days left", is_number=True, spare=1),
        Column("waiting", is_number=True),
        Column("missing", is_number=True),
    ]
    print_table(columns, [_row(asset, pool) for asset, pool in found.items()])
    for asset, pool in found.items():
        if pool.waiting_users:
            waits = "waits" if pool.waiting_users == 1 else "wait"
            print(
                f"{counted(pool.waiting_users)} {waits} for {asset}, in all their assets; go on with: "
                f"starter.py pool fund {typed(asset)} AMOUNT"
            )


def _json(asset: str, pool: PoolFigures) -> dict[str, Any]:
    return {
        "asset": asset,
        "balance": format_amount(pool.balance),
        "outflow_yesterday": format_amount(pool.outflow_yesterday),
        "days_left": None if isinf(pool.days_left) else pool.days_left,
        "waiting_users": pool.waiting_users,
        "missing": format_amount(pool.missing),
    }


def _row(asset: str, pool: PoolFigures) -> list[str]:
    return [
        asset,
        format_amount(pool.balance),
        format_amount(pool.outflow_yesterday),
        "∞" if isinf(pool.days_left) else f"{pool.days_left:,.1f}",
        str(pool.waiting_users),
        format_amount(pool.missing),
    ]
