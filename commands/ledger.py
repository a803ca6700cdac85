"""ledger show, reverse, adjust: what the journal holds of a user, and how an operator corrects it."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import typer

from commands.arguments import (
    NUMBERS_MAY_BE_NEGATIVE,
    AssetArgument,
    OperatorOption,
    ReasonOption,
    idempotency_key,
    signed_amount,
    wrong_usage,
)
from commands.enrolment import UserArgument
from commands.entrance import now, run, the_ledger
from commands.entries import entry_json, print_recorded, print_steps, recorded_json
from commands.output import JsonOption, amounts, print_json, print_prose
from ledger import corrections
from ledger.engine import Ledger
from ledger.entries import Recorded, UserEntries, user_entries
from ledger.spelling import check_spelling
from staking.program import check_asset_code

app = typer.Typer(
    no_args_is_help=True,
    help="The journal: what it holds of a user, and its corrections. Nothing in it is ever changed or deleted; "
    "a correction is an entry of its own, with its operator and reason.",
)
_ENTRIES_MAX = 100_000
_ENTRY_ID_MAX = 2**63 - 1


@wrong_usage
def _asset(text: str | None) -> str | None:
    return None if text is None else check_asset_code(text)


@app.command()
def show(
    user: UserArgument,
    asset: Annotated[
        str | None,
        typer.Argument(
            metavar="[ASSET]",
            callback=_asset,
            help="Only what changed this asset.",
        ),
    ] = None,
    last: Annotated[
        int, typer.Option("--last", min=1, max=_ENTRIES_MAX, metavar="N", help="How many of the latest entries.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """Print a user's latest journal entries in the order in which they count, each with the holding after it.

    Entries that count from one instant act together.
    """

    async def work() -> UserEntries:
        async with the_ledger() as ledger, ledger.read() as connection:
            found = await user_entries(connection, user, asset, last=last)
            if asset is not None and not found.count:
                await check_spelling(connection, [asset])
            return found

    known = run(work())
    if as_json:
        steps = [{**entry_json(step.entry), "holdings": amounts(step.holdings)} for step in known.steps]
        print_json({"user": user, "asset": asset, "count": known.count, "entries": steps})
        return
    what = f"{user} in {asset}" if asset else user
    if not known.count:
        print(f"there are no entries of {what}.")
        return
    shown = "all" if len(known.steps) == known.count else f"the latest {len(known.steps)}"
    print_prose(f"Entries of {what}: {shown} of {known.count}, the newest last")
    print_steps(known.steps)


@app.command()
def reverse(
    entry: Annotated[
        int,
        typer.Argument(metavar="ENTRY", min=1, max=_ENTRY_ID_MAX, help="An entry id, as ledger show prints it."),
    ],
    reason: ReasonOption,
    operator: OperatorOption,
    as_json: JsonOption = False,
) -> None:
    """Take an entry back, whole, by one that moves the same amounts the other way. A repeat changes nothing.

    It counts from now on, so that no closed day changes. The day of a reward that is taken back stays credited and
    is not paid again, and its user reads the reason in the reward history. Refused if the balance, or the pool,
    would fall below zero.
    """
    answer = _correct(
        lambda ledger, asked_at: corrections.reverse(ledger, entry, reason=reason, operator=operator, now=asked_at)
    )
    if as_json:
        print_json(recorded_json(answer))
        return
    if answer.recorded_already:
        print(f"entry {entry} is reversed already, by entry {answer.entry.entry_id}.")
    print_recorded(answer)


@app.command(context_settings=NUMBERS_MAY_BE_NEGATIVE)
def adjust(
    user: UserArgument,
    asset: AssetArgument,
    amount: Annotated[
        int,
        typer.Argument(
            parser=signed_amount, metavar="AMOUNT", help="Tokens to add, or to take where negative: -0.5."
        ),
    ],
    reason: ReasonOption,
    operator: OperatorOption,
    key: Annotated[
        str | None,
        typer.Option(
            callback=idempotency_key, metavar="KEY", help="Idempotency key, in the place of the content."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change a user's spot balance where there is no entry to reverse. Refused if it would fall below zero.

    It counts from now on. The same user, asset, amount, reason and operator again are a repeat and change nothing:
    to adjust by the same once more, give another reason or a --key.
    """
    answer = _correct(
        lambda ledger, asked_at: corrections.adjust(
            ledger, user, asset, amount, reason=reason, operator=operator, now=asked_at, idempotency_key=key
        )
    )
    if as_json:
        print_json(recorded_json(answer))
        return
    print_recorded(answer)
    if answer.recorded_already:
        print("to adjust by the same once more, give another --reason or a --key.")


def _correct(request: Callable[[Ledger, datetime], Awaitable[Recorded]]) -> Recorded:
    async def work() -> Recorded:
        async with the_ledger() as ledger:
            return await request(ledger, now())

    return run(work())
