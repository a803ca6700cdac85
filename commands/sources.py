"""sources: the feeds that must report a day's end before the day is closed."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from commands.arguments import OperatorOption, ReasonOption, parse_instant, wrong_usage
from commands.entrance import the_ledger
from commands.output import Column, JsonOption, instant_text, print_json, print_table
from ledger.feed.sources import (
    Source,
    all_sources,
    check_source_name,
    release_source,
    remove_source,
    tell_complete,
)
from running.process import now, run

app = typer.Typer(
    no_args_is_help=True,
    help="The feeds that must report a day's end before the day is closed for anyone. A feed reports with PUT "
    "/v1/sources/NAME, or here: that it has sent every movement that happened before an instant.",
)
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", callback=wrong_usage(check_source_name), help="The source's name.")
]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Print the sources and how far each is complete.

    Example: python starter.py sources list
    """

    async def work() -> list[Source]:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await all_sources(connection)

    sources = run(work())
    if as_json:
        print_json([asdict(source) for source in sources])
    elif sources:
        columns = [
            Column("source"),
            Column("complete through"),
            Column("released through"),
            Column("last heard", spare=1),
            Column("registered", spare=2),
        ]
        print_table(columns, [_row(source) for source in sources])
    else:
        print("there are no sources: days are closed as soon as they are over")


@app.command()
def complete(
    name: NameArgument,
    instant: Annotated[
        datetime,
        typer.Argument(parser=parse_instant, metavar="INSTANT", help="ISO 8601; UTC unless it says otherwise."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Report for a source that it has sent everything that happened before an instant. The instant only rises.

    A new name registers a source: from then on no day is closed without it.
    Example: python starter.py sources complete wallet 2026-10-02T00:00:00Z
    """

    async def work() -> Source:
        async with the_ledger() as ledger:
            return await tell_complete(ledger, name, instant, now=now())

    _print(run(work()), as_json=as_json)


@app.command()
def release(
    name: NameArgument, operator: OperatorOption, reason: ReasonOption, as_json: JsonOption = False
) -> None:
    """Let every day that is over by now be closed without waiting for a source. Later days wait for it again.

    What the source sends afterwards for such a day counts in a later one.
    Example: python starter.py sources release wallet --reason "its database is lost until noon"
    """

    async def work() -> Source:
        async with the_ledger() as ledger:
            return await release_source(ledger, name, operator=operator, reason=reason, now=now())

    _print(run(work()), as_json=as_json)


@app.command()
def remove(
    name: NameArgument, operator: OperatorOption, reason: ReasonOption, as_json: JsonOption = False
) -> None:
    """Remove a source, so that no day waits for it any more. Its next report registers it again.

    Example: python starter.py sources remove wallet --reason "replaced by wallet-2"
    """

    async def work() -> Source:
        async with the_ledger() as ledger:
            return await remove_source(ledger, name, operator=operator, reason=reason, now=now())

    source = run(work())
    if as_json:
        print_json(asdict(source))
    else:
        print(f"the source {source.name} is removed")


def _print(source: Source, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(source))
        return
    released = f", released through {instant_text(source.released_through)}" if source.released_through else ""
    print(f"{source.name}: complete through {instant_text(source.complete_through)}{released}")


def _row(source: Source) -> list[str]:
    return [
        source.name,
        instant_text(source.complete_through),
        instant_text(source.released_through) if source.released_through else "",
        instant_text(source.told_at),
        instant_text(source.registered_at),
    ]
