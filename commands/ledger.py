"""ledger show, reverse, adjust: print what the journal has of a user or a pool, and correct it."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import typer

from commands.arguments import (
    NUMBERS_MAY_BE_NEGATIVE,
    AssetArgument,
    OperatorOption,
    ReasonOption,
    TellOption,
    UserArgument,
    asset_code,
    idempotency_key,
    signed_amount,
    user_argument,
)
from commands.entrance import the_ledger
from commands.entries import (
    entry_json,
    print_pool_entries,
    print_recorded,
    print_steps,
    print_tried,
    recorded_json,
)
from commands.known_users import refuse_stranger_to_ledger
from commands.output import JsonOption, amounts, print_json, print_prose
from ledger import corrections
from ledger.database.engine import Ledger
from ledger.entries import PoolEntries, Recorded, UserEntries, pool_entries, user_entries
from ledger.spelling import check_spelling
from running.process import now, run
from running.shell import typed
from staking.money import format_amount

app = typer.Typer(
    no_args_is_help=True,
    help="The journal: what it holds of a user or a reward pool, and its corrections. Nothing in it is ever "
    "changed or deleted; a correction is an entry of its own, with its operator and reason.",
)
_ENTRIES_MAX = 100_000
_ENTRY_ID_MAX = 2**63 - 1


def _user(text: str | None) -> str | None:
    return None if text is None else user_argument(text)


PoolOption = Annotated[
    str | None,
    typer.Option(
        "--pool", callback=asset_code, metavar="ASSET", help="The pool of this asset, in place of a user."
    ),
]


@app.command()
def show(
    user: Annotated[
        str | None,
        typer.Argument(metavar="[USER]", callback=_user, help="The user's opaque id; or name a --pool."),
    ] = None,
    asset: Annotated[
        str | None,
        typer.Argument(
            metavar="[ASSET]",
            callback=asset_code,
            help="Only entries that changed this asset.",
        ),
    ] = None,
    pool: PoolOption = None,
    without_rewards: Annotated[
        bool, typer.Option("--without-rewards", help="With --pool: leave out the credits of rewards.")
    ] = False,
    last: Annotated[
        int, typer.Option("--last", min=1, max=_ENTRIES_MAX, metavar="N", help="How many of the latest entries.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """Print the latest journal entries of a user, in the order in which they count, each with the holding after
    it.

    Entries that count from one instant act together. With --pool, print the entries of a reward pool in the order
    in which they were recorded, with who funded the pool and why.

    Example: python starter.py ledger show --pool SOL --without-rewards
    """
    if pool is not None:
        if user is not None:
            raise typer.BadParameter("either a USER or a --pool is named, not both")
        _show_pool(pool, with_rewards=not without_rewards, last=last, as_json=as_json)
    elif user is None:
        raise typer.BadParameter("a USER or a --pool is missing")
    elif without_rewards:
        raise typer.BadParameter("--without-rewards goes with --pool")
    else:
        _show_user(user, asset, last=last, as_json=as_json)


def _show_user(user: str, asset: str | None, *, last: int, as_json: bool) -> None:
    async def work() -> UserEntries:
        async with the_ledger() as ledger:
            await refuse_stranger_to_ledger(ledger, user)
            async with ledger.read() as connection:
                found = await user_entries(connection, user, asset, last=last)
                if asset is not None and not found.count:
                    await check_spelling(connection, [asset])
                return found

    latest = run(work())
    if as_json:
        steps = [{**entry_json(step.entry), "holdings": amounts(step.holdings)} for step in latest.steps]
        print_json({"user": user, "asset": asset, "count": latest.count, "entries": steps})
        return
    what = f"{user} in {asset}" if asset else user
    if not latest.count:
        print(f"there are no entries of {what}.")
        return
    print_prose(f"Entries of {what}: {_of_how_many(len(latest.steps), latest.count)}, the newest last")
    print_steps(latest.steps)


def _show_pool(asset: str, *, with_rewards: bool, last: int, as_json: bool) -> None:
    async def work() -> PoolEntries:
        async with the_ledger() as ledger, ledger.read(takes_long=True) as connection:
            found = await pool_entries(connection, asset, with_rewards=with_rewards, last=last)
            if not found.count:
                await check_spelling(connection, [asset])
            return found

    latest = run(work())
    if as_json:
        print_json(
            {
                "pool": asset,
                "count": latest.count,
                "balance": format_amount(latest.balance),
                "entries": [entry_json(entry) for entry in latest.entries],
            }
        )
        return
    if not latest.count:
        way_out = f"starter.py pool fund {typed(asset)} 1000"
        print(f"there are no entries of the {asset} pool; fund it with: {way_out}")
        return
    shown = _of_how_many(len(latest.entries), latest.count)
    kinds = "Entries" if with_rewards else "Entries, but for rewards,"
    print_prose(f"{kinds} of the {asset} pool: {shown}, the newest last")
    print_pool_entries(latest.entries)
    print(f"balance now: {format_amount(latest.balance)} {asset}")


def _of_how_many(shown: int, count: int) -> str:
    return f"{'all' if shown == count else f'the latest {shown}'} of {count}"


@app.command()
def reverse(
    entry: Annotated[
        list[str],
        typer.Argument(
            metavar="[USER] ENTRY",
            help="Whose entry it is, and its id, as ledger show prints it; or ENTRY and --pool.",
        ),
    ],
    reason: ReasonOption,
    operator: OperatorOption,
    tell: TellOption = None,
    pool: PoolOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be reversed, and the balances after it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Reverse a whole entry by a new one that moves the same amounts the other way. A repeat changes nothing.

    The reversal counts from now on, so that no closed day changes. The day of a reversed reward stays credited and
    is not paid again; the user's reward history shows the reversal and the text of --tell. The reversal is refused
    if the entry is not that user's or pool's, and if the balance would fall below zero.

    Example: python starter.py ledger reverse 1001 188 --reason "case 4711" --dry-run
    """
    owner, entry_id = _owner_and_entry(entry, pool)
    answer = _correct(
        lambda ledger, asked_at: corrections.reverse(
            ledger,
            entry_id,
            of=owner,
            reason=reason,
            operator=operator,
            now=asked_at,
            tell=tell,
            dry_run=dry_run,
        )
    )
    is_tried = dry_run and not answer.recorded_already
    if as_json:
        recorded = {**recorded_json(answer), "dry_run": dry_run}
        print_json({**recorded, "entry_id": None} if is_tried else recorded)
        return
    if answer.recorded_already:
        print(f"entry {entry_id} is reversed already, by entry {answer.entry.entry_id}.")
    if is_tried:
        print_tried(answer)
    else:
        print_recorded(answer)


def _owner_and_entry(words: list[str], pool: str | None) -> tuple[str | corrections.RewardPool, int]:
    """Whose entry is meant, and its id: USER ENTRY, or ENTRY with a pool."""
    *owners, number = words
    if not number.isascii() or not number.isdecimal() or not 1 <= int(number[:20]) <= _ENTRY_ID_MAX:
        raise typer.BadParameter(f"{number[:40]!r} is not an entry id, as ledger show prints it")
    if pool is not None:
        if owners:
            raise typer.BadParameter("either a USER or a --pool is named, not both")
        return corrections.RewardPool(pool), int(number)
    if len(owners) != 1:
        raise typer.BadParameter(
            f"whose entry is it? Name the user: ledger reverse USER {number}; or the pool: "
            f"ledger reverse --pool ASSET {number}"
        )
    return user_argument(owners[0]), int(number)


@app.command(context_settings=NUMBERS_MAY_BE_NEGATIVE)
def adjust(
    user: UserArgument,
    asset: AssetArgument,
    amount: Annotated[
        int,
        typer.Argument(
            parser=signed_amount,
            metavar="AMOUNT",
            help="Tokens to add; a negative number takes tokens away: -0.5.",
        ),
    ],
    reason: ReasonOption,
    operator: OperatorOption,
    tell: TellOption = None,
    key: Annotated[
        str | None,
        typer.Option(
            callback=idempotency_key,
            metavar="KEY",
            help="Idempotency key, by which a repeat is recognised instead of by its content.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change a user's spot balance if there is no entry to reverse. It is refused if the balance would fall below
    zero.

    The adjustment counts from now on. The same user, asset, amount, reason and operator are a repeat and change
    nothing. To adjust by the same amount once more, give another reason or a --key.
    """

    async def adjusted(ledger: Ledger, asked_at: datetime) -> Recorded:
        await refuse_stranger_to_ledger(ledger, user)
        return await corrections.adjust(
            ledger,
            user,
            asset,
            amount,
            reason=reason,
            operator=operator,
            now=asked_at,
            tell=tell,
            idempotency_key=key,
        )

    answer = _correct(adjusted)
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
