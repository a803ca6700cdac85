"""movements refused, retry, dismiss: what feeds sent and could not be posted."""

from typing import Annotated, Any

import typer

from commands.arguments import OperatorOption, ReasonOption
from commands.entrance import the_ledger
from commands.output import Column, JsonOption, instant_text, plain, print_json, print_table
from ledger.feed.deciding import MovementOutcome
from ledger.feed.refused import RefusedMovement, all_refused, dismiss_refused
from ledger.feed.retrying import retry_refused
from running.process import CommandFailed, now, run

app = typer.Typer(
    no_args_is_help=True,
    help="Movements that a feed sent to POST /v1/movements and that could not be posted. Each waits, with its "
    "reason, until it can be posted when it is sent or tried again, or until it is dismissed.",
)
_WORST_FIRST = 20


@app.command()
def refused(
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the latest N.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the refused movements in the order in which they first came.

    Example: python starter.py movements refused
    """

    async def work() -> list[RefusedMovement]:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await all_refused(connection, last=limit)

    found = run(work())
    if as_json:
        print_json([_json(one) for one in found])
    elif found:
        print_table(
            [
                Column("id"),
                Column("user"),
                Column("amount", is_number=True),
                Column("asset"),
                Column("at", spare=2),
                Column("group", spare=3),
                Column("times", is_number=True, spare=4),
                Column("last refused", spare=1),
                Column("why", is_prose=True),
            ],
            [_row(one) for one in found],
        )
    else:
        print("no movement is refused")


@app.command()
def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Of refused movements.", show_default=False)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Try refused movements again, in the order in which they first came, each with all legs of its group.

    A movement that fits now is posted, and is no longer among them. The exit code is 1 if any is refused again.
    Example: python starter.py movements retry --all
    """
    if all_ == bool(ids):
        raise typer.BadParameter("name the ids of refused movements, or say --all")

    async def work() -> list[MovementOutcome]:
        async with the_ledger() as ledger:
            parts = retry_refused(ledger, None if all_ else ids, now=now())
            return [outcome async for part in parts for outcome in part]

    outcomes = run(work())
    again = [outcome for outcome in outcomes if outcome.reason]
    if as_json:
        print_json([_outcome_json(outcome) for outcome in outcomes])
    else:
        print(f"{len(outcomes) - len(again)} posted, {len(again)} refused again")
    if again:
        raise CommandFailed(
            *(
                f"{plain(one.movement_id)}: {plain(one.reason.sentence)}"
                for one in again[:_WORST_FIRST]
                if one.reason
            ),
            *([f"and {len(again) - _WORST_FIRST} more"] if len(again) > _WORST_FIRST else []),
        )


@app.command()
def dismiss(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Of refused movements.")],
    operator: OperatorOption,
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Dismiss refused movements that will never be posted. `acts` keeps what they were, who dismissed them and
    why.

    Example: python starter.py movements dismiss wallet-81723 --reason "sent by a test system"
    """

    async def work() -> list[RefusedMovement]:
        async with the_ledger() as ledger:
            return await dismiss_refused(ledger, ids, operator=operator, reason=reason, now=now())

    dismissed = run(work())
    if as_json:
        print_json([_json(one) for one in dismissed])
    else:
        print(f"{len(dismissed)} dismissed")


def _json(refused_one: RefusedMovement) -> dict[str, Any]:
    sent = refused_one.sent
    return {
        "id": sent.movement_id,
        "user": sent.user,
        "asset": sent.asset,
        "amount": sent.amount,
        "at": sent.at,
        "group": sent.group,
        "reason": refused_one.reason._asdict(),
        "first_refused_at": refused_one.first_refused_at,
        "last_refused_at": refused_one.last_refused_at,
        "times": refused_one.times,
    }


def _outcome_json(outcome: MovementOutcome) -> dict[str, Any]:
    return {
        "id": outcome.movement_id,
        "status": outcome.status,
        "counts_from": outcome.counts_from,
        "reason": outcome.reason and outcome.reason._asdict(),
    }


def _row(one: RefusedMovement) -> list[str]:
    sent = one.sent
    return [
        plain(sent.movement_id),
        plain(sent.user),
        plain(sent.amount),
        plain(sent.asset),
        plain(sent.at),
        plain(sent.group or ""),
        str(one.times),
        instant_text(one.last_refused_at),
        plain(one.reason.sentence),
    ]
