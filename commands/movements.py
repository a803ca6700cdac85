"""deposit, withdraw, trade: movements of a spot balance, as a product service posts them."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import typer

from commands.arguments import (
    AmountArgument,
    AssetArgument,
    UserArgument,
    amount_above_zero,
    idempotency_key,
    parse_instant,
    wrong_usage,
)
from commands.entrance import the_ledger
from commands.entries import print_recorded, recorded_json
from commands.output import JsonOption, print_json
from ledger import movements
from ledger.database.engine import Ledger
from ledger.entries import Recorded
from running.process import now, run
from staking.program import check_asset_code


def _required_key(text: str) -> str | None:
    if not text:
        raise typer.BadParameter(
            "a movement needs a key: an id of your own, such as your transaction's, and the same again when you "
            "repeat the request. A repeat then answers the first entry; without a key it would be posted twice"
        )
    return idempotency_key(text)


KeyOption = Annotated[
    str,
    typer.Option(
        "--key",
        "--idempotency-key",
        callback=_required_key,
        metavar="KEY",
        show_default=False,
        help="Required: an id of your own for this movement. The same key again gives the first entry again.",
    ),
]
AtOption = Annotated[
    datetime | None,
    typer.Option(
        "--at",
        parser=parse_instant,
        metavar="ISO",
        help="When it occurred, if not now; UTC unless it says otherwise. It counts from then, but in no "
        "closed day and, where no source is registered, never before the user's latest movement.",
    ),
]


def deposit(
    user: UserArgument,
    asset: AssetArgument,
    amount: AmountArgument,
    key: KeyOption = "",
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add tokens to a user's spot balance.

    Example: python starter.py deposit 1001 SOL 12 --key deposit-7001
    """
    _post(
        lambda ledger, asked_at: movements.deposit(
            ledger, user, asset, amount, idempotency_key=key, now=asked_at, occurred_at=at
        ),
        as_json=as_json,
    )


def withdraw(
    user: UserArgument,
    asset: AssetArgument,
    amount: AmountArgument,
    key: KeyOption = "",
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take tokens from a user's spot balance. If the balance is too low for the whole amount, nothing is taken.

    Soft staking never delays or refuses a withdrawal. Example: python starter.py withdraw 1001 SOL 3 --key
    withdrawal-7002
    """
    _post(
        lambda ledger, asked_at: movements.withdraw(
            ledger, user, asset, amount, idempotency_key=key, now=asked_at, occurred_at=at
        ),
        as_json=as_json,
    )


def trade(
    user: UserArgument,
    sold_asset: Annotated[
        str,
        typer.Argument(
            metavar="SOLD_ASSET", callback=wrong_usage(check_asset_code), help="The asset that the user gives."
        ),
    ],
    sold_amount: Annotated[
        int, typer.Argument(metavar="SOLD_AMOUNT", parser=amount_above_zero, help="How much of it.")
    ],
    bought_asset: Annotated[
        str,
        typer.Argument(
            metavar="BOUGHT_ASSET", callback=wrong_usage(check_asset_code), help="The asset that the user gets."
        ),
    ],
    bought_amount: Annotated[
        int, typer.Argument(metavar="BOUGHT_AMOUNT", parser=amount_above_zero, help="How much of it.")
    ],
    key: KeyOption = "",
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Exchange one asset of a user's spot balance for another. Both movements are posted, or none.

    Example, 3 SOL sold for 450 USDT: python starter.py trade 1001 SOL 3 USDT 450 --key trade-7003
    """
    if sold_asset == bought_asset:
        raise typer.BadParameter(f"a trade exchanges two assets, not {sold_asset} for itself")
    _post(
        lambda ledger, asked_at: movements.trade(
            ledger,
            user,
            sold_asset,
            sold_amount,
            bought_asset,
            bought_amount,
            idempotency_key=key,
            now=asked_at,
            occurred_at=at,
        ),
        as_json=as_json,
    )


def _post(request: Callable[[Ledger, datetime], Awaitable[Recorded]], *, as_json: bool) -> None:
    async def work() -> Recorded:
        async with the_ledger() as ledger:
            return await request(ledger, now())

    answer = run(work())
    if as_json:
        print_json(recorded_json(answer))
    else:
        print_recorded(answer)
