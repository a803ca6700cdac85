"""movements refused, retry, dismiss: what feeds sent and could not be posted."""

from typing import Annotated, Any

import typer

from commands.arguments import OperatorOption, ReasonOption
from commands.entrance import the_ledger
from commands.output import Column, JsonOption, instant_text, plain, print_json, print_table
from ledger.feed.deciding import MovementOutcome
from ledger.feed.refused import RefusedMovement, all_refused, dismiss_refused
from ledger.feed.refused_messages import RefusedMessage, all_refused_messages, dismiss_refused_messages
from ledger.feed.retrying import retry_refused
from running.process import CommandFailed, now, run

app = typer.Typer(
    no_args_is_help=True,
    help="Movements that a feed sent to POST /v1/movements and that could not be posted. Each waits, with its "
    "reason, until it can be posted when it is sent or tried again, or until it is dismissed.",
)
_WORST_FIRST = 20
_SHOWN_MAX = 40
"""So many characters of a message stand in a table; all that is kept is in the JSON form."""


@app.command()
def refused(
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the latest N.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the refused movements in the order in which they first came, and messages of Kafka that say none.

    Example: python starter.py movements refused
    """

    async def work() -> tuple[list[RefusedMovement], list[RefusedMessage]]:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await all_refused(connection, last=limit), await all_refused_messages(connection, last=limit)

    found, messages = run(work())
    if as_json:
        print_json([*map(_json, found), *map(_message_json, messages)])
        return
    if found:
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
    if messages:
        columns = [
            Column("message"),
            Column("bytes", is_number=True, spare=2),
            Column("refused", spare=1),
            Column("content", spare=3),
            Column("why", is_prose=True),
        ]
        print_table(columns, [_message_row(one) for one in messages])
    if not found and not messages:
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
    operator: OperatorOption,
    reason: ReasonOption,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Of refused movements.", show_default=False)
    ] = None,
    message: Annotated[
        list[str] | None,
        typer.Option("--message", metavar="TOPIC/PARTITION/OFFSET", help="A message of Kafka that says none."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Dismiss refused movements that will never be posted. `acts` keeps what they were, who dismissed them and
    why.

    Example: python starter.py movements dismiss wallet-81723 --reason "sent by a test system"
    """
    if bool(ids) == bool(message):
        raise typer.BadParameter("name the ids of refused movements, or messages with --message")

    async def work() -> list[dict[str, Any]]:
        async with the_ledger() as ledger:
            if message:
                messages = await dismiss_refused_messages(
                    ledger, message, operator=operator, reason=reason, now=now()
                )
                return [*map(_message_json, messages)]
            found = await dismiss_refused(ledger, ids or [], operator=operator, reason=reason, now=now())
            return [*map(_json, found)]

    dismissed = run(work())
    if as_json:
        print_json(dismissed)
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


def _message_json(one: RefusedMessage) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "partition": one.partition,
        "offset": one.offset,
        "size_bytes": one.size_bytes,
        "content": one.content,
        "reason": one.reason._asdict(),
        "refused_at": one.refused_at,
    }


def _message_row(one: RefusedMessage) -> list[str]:
    beginning = one.content if len(one.content) <= _SHOWN_MAX else f"{one.content[:_SHOWN_MAX]}…"
    return [
        one.place,
        str(one.size_bytes),
        instant_text(one.refused_at),
        plain(beginning),
        plain(one.reason.sentence),
    ]


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
