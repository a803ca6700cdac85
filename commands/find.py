"""list and owed: which users need an operator's eye."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from commands.arguments import RegionOption
from commands.bulk import counted
from commands.entrance import the_ledger
from commands.output import Column, JsonOption, print_json, print_prose, print_table
from ledger.reading.owed import AllOwed
from ledger.reading.owed import owed as owed_in_ledger
from running.process import CommandFailed, now, run, say
from settings import Settings
from temporal.connection import connect
from temporal.visibility import Filter, FoundUser, found_users
from workflows import search_attributes

_LIMIT = 1000
_LIMIT_MAX = 1_000_000
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=_LIMIT_MAX, metavar="N", help="How many to print at most.")
]


class SearchedState(StrEnum):
    """The states of a loop by which operators search."""

    EARNING = search_attributes.EARNING
    WAITING_FOR_POOL = search_attributes.WAITING_FOR_POOL
    WAITING_FOR_SOURCE = search_attributes.WAITING_FOR_SOURCE
    BLOCKED = search_attributes.BLOCKED
    ENDED = search_attributes.ENDED
    REFUSED = search_attributes.REFUSED


def list_(
    state: Annotated[SearchedState | None, typer.Option("--state", help="The state of the loop.")] = None,
    region: RegionOption = None,
    held: Annotated[bool, typer.Option("--held", help="Only users whom an operator holds.")] = False,
    end_reason: Annotated[
        str | None,
        typer.Option(
            "--end-reason", metavar="TEXT", help="Why the enrolment ended, or the beginning of that reason."
        ),
    ] = None,
    failing: Annotated[
        bool,
        typer.Option("--failing", help="Only users whose workflow task fails again and again."),
    ] = False,
    limit: LimitOption = _LIMIT,
    as_json: JsonOption = False,
) -> None:
    """Print the users for whom all of the options are true. Without an option, print all whose workflow is
    running.

    The command asks Temporal, whose lists lag by moments, and whose server must know the search attributes
    (`setup`). Users whose enrolment has ended are found for as long as Temporal keeps their history. `owed` shows
    who is owed days. If histories are encrypted, Temporal knows no region, and the reason of an end is only
    deactivated or region_restricted.

    Example: python starter.py list --state blocked
    """
    if Settings().payload_keys_by_id:
        _refuse_what_encryption_hides(region, end_reason)
    wanted = Filter(
        state=state and state.value, region=region, is_held=held, end_reason=end_reason, is_failing=failing
    )

    async def work() -> list[FoundUser]:
        client = await connect(timeout=timedelta(seconds=10))
        return await found_users(client, wanted, limit=limit + 1)

    found = run(work())
    users, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"users": [_json(user) for user in users], "more": more})
        return
    if not users:
        print("no user's workflow is running." if wanted == Filter() else "no user's workflow shows that.")
        return
    print_users(users)
    if more:
        say(f"there are more than {limit}; --limit prints more of them")


def owed(
    region: RegionOption = None,
    late: Annotated[bool, typer.Option("--late", help="Only users with a day that missed its 08:00 UTC.")] = False,
    limit: LimitOption = _LIMIT,
    as_json: JsonOption = False,
) -> None:
    """Print who has owed days and since when, the longest owed first. The command asks the ledger, and not
    Temporal.

    An owed day is an accrual day that is over and not yet credited.

    Example: python starter.py owed --late --region FR
    """

    async def work() -> AllOwed:
        async with the_ledger() as ledger, ledger.read(takes_long=True) as connection:
            return await owed_in_ledger(connection, now=now(), region=region, late=late, limit=limit)

    found = run(work())
    if as_json:
        listed = [
            {"user": each.user_id, "enrolment_id": each.enrolment_id, "region": each.region, "days": each.days}
            | {"first": each.first, "last": each.last, "late_days": each.late_days}
            for each in found.listed
        ]
        print_json({"users": found.users, "days": found.days, "owed": listed})
        return
    if not found.listed:
        print("no day is owed." if not late else "no owed day is late.")
        return
    columns = [
        Column("user"),
        Column("region", spare=1),
        Column("owed days", is_number=True),
        Column("first"),
        Column("last", spare=2),
        Column("of them late", is_number=True),
    ]
    print_table(
        columns,
        [
            [each.user_id, each.region, str(each.days), str(each.first), str(each.last), str(each.late_days)]
            for each in found.listed
        ],
    )
    print_prose(f"{found.days} owed {'day' if found.days == 1 else 'days'} of {counted(found.users)}.")
    if sum(each.days for each in found.listed) < found.days:
        say(f"only the first {limit} are listed; --limit lists more of them")


def print_users(users: Sequence[FoundUser]) -> None:
    """A row for each user whose workflow was found."""
    columns = [
        Column("user"),
        Column("state"),
        Column("region", spare=1),
        Column("held"),
        Column("end reason", is_prose=True, spare=3),
        Column("workflow", spare=2),
    ]
    print_table(columns, [_row(user) for user in users])


def _refuse_what_encryption_hides(region: str | None, end_reason: str | None) -> None:
    # The search would find nobody, which would look as if there were nobody.
    if region is not None:
        raise CommandFailed(
            "where histories are encrypted Temporal knows no region; the ledger does: "
            f"starter.py owed --region {region}, or hold --region {region} --dry-run --reason … for all of them"
        )
    kinds = (search_attributes.DEACTIVATED, search_attributes.REGION_RESTRICTED)
    if end_reason is not None and not any(kind.startswith(end_reason) for kind in kinds):
        raise CommandFailed(
            f"where histories are encrypted Temporal knows of an end only {' or '.join(kinds)}; who ended it and "
            "why is in the ledger: starter.py acts"
        )


def _row(user: FoundUser) -> list[str]:
    return [
        user.user_id,
        user.state or "unknown",
        user.region or "",
        {True: "yes", False: "no", None: "unknown"}[user.is_held],
        user.end_reason or "",
        user.workflow,
    ]


def _json(user: FoundUser) -> dict[str, object]:
    fields = asdict(user)
    return {"user": fields.pop("user_id"), **fields}
