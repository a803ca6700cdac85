"""events: what happened, as systems outside are told."""

import asyncio
import json
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from commands.arguments import wrong_usage
from commands.entrance import the_ledger
from commands.output import JsonOption, print_json
from contract.events import EventKind, event_kind, schema_of
from ledger.database.engine import Ledger
from ledger.events.horizon import LOOKS_EVERY_S, readable_through
from ledger.events.pruning import Pruned, prune_events
from ledger.events.reading import Told, events_after
from running.process import now, run
from settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="What happened, as systems outside are told: GET /v1/events, and docs/events.md.",
)
_NEWEST = "newest"
_AT_ONCE = 500


_kind = wrong_usage(event_kind)


@wrong_usage
def _cursor(text: str) -> str:
    if text != _NEWEST and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ValueError(
            f"{text[:40]!r} is no cursor: it is a number that an event has as its cursor, or {_NEWEST}"
        )
    return text


@app.command()
def follow(
    after: Annotated[
        str,
        typer.Option(
            parser=_cursor, metavar="CURSOR", help=f"Begin after this event; '{_NEWEST}': with the next."
        ),
    ] = "0",
    types: Annotated[
        list[str] | None,
        typer.Option("--type", parser=_kind, metavar="TYPE", help="Only this type; give it once for each."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for what comes, until it is interrupted.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each event as JSON, in a line of its own.")
    ] = False,
) -> None:
    """Print events as they happen, from the oldest that is kept on. Ctrl-C ends it.

    Example: python starter.py events follow --type reward.credited
    """

    kinds: list[EventKind] = [event_kind(kind) for kind in types or ()]

    async def work() -> None:
        async with the_ledger() as ledger:
            cursor = await readable_through(ledger) if after == _NEWEST else int(after)
            while True:
                page = await events_after(ledger, cursor, limit=_AT_ONCE, kinds=kinds)
                for event in page.events:
                    print(event.json if as_json else _line(event), flush=True)
                cursor = page.cursor
                if not page.events and not wait:
                    return
                if not page.events:
                    await asyncio.sleep(LOOKS_EVERY_S)

    run(work())


@app.command()
def prune(as_json: JsonOption = False) -> None:
    """Take away events older than SOFT_STAKING_EVENTS_KEPT_DAYS; none that a live reader has not had.

    Example: python starter.py events prune
    """
    kept_days = Settings().events_kept_days

    async def work() -> Pruned:
        async with the_ledger() as ledger:
            return await _prune(ledger, kept_days)

    pruned = run(work())
    if as_json:
        print_json({"removed": pruned.events, "waits_for": [asdict(reader) for reader in pruned.waits_for]})
        return
    print(f"{pruned.events} events older than {kept_days} days are removed")
    for reader in pruned.waits_for:
        print(f"older ones are kept for {reader.name}, which has had them up to {reader.read_through}")


async def _prune(ledger: Ledger, kept_days: int) -> Pruned:
    return await prune_events(ledger, older_than=timedelta(days=kept_days), now=now())


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(parser=_kind, metavar="TYPE", help="reward.credited, for example")],
) -> None:
    """Print the JSON Schema of an event, as docs/events/ has it."""
    print(json.dumps(schema_of(event_kind(kind)), indent=2))


def _line(event: Told) -> str:
    told = json.loads(event.json)
    instant = event.recorded_at.strftime("%Y-%m-%d %H:%M:%S")
    subject = told.get("subject", "-")
    return f"{event.number}  {instant}  {event.kind}  {subject}  {json.dumps(told['data'])}"
