"""hold, release, deactivate, resume, acts: what operators do to users' loops, and the record of it."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, TypeVar
from uuid import uuid4

import typer
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from commands import bulk
from commands.agreement import disagreement_once_started
from commands.arguments import (
    WHY,
    OperatorOption,
    OptionalOperatorOption,
    OptionalReasonOption,
    ReasonOption,
    RegionOption,
    TellOption,
    TimeoutOption,
    login_name,
    user_argument,
)
from commands.entrance import the_ledger
from commands.known_users import refuse_stranger_to_ledger, refuse_strangers
from commands.output import Column, JsonOption, instant_text, print_json, print_table
from contract.acts import Act
from contract.answers import End
from contract.errors import ServiceError
from ledger.acts import RecordedAct, held_users, latest_acts, record_act
from ledger.database.engine import Ledger
from ledger.reading.owed import enrolled_users, unfinished_users
from running.process import CommandFailed, now, run
from temporal.client import SoftStakingClient
from temporal.connection import connect
from temporal.visibility import running_users
from workflows.summaries import hold_text

_Answer = TypeVar("_Answer")
_ACTS_MAX = 100_000
ASKED_BY_THE_USER = "asked by the user"


def _optional_user(text: str | None) -> str | None:
    return None if text is None else user_argument(text)


def _users(texts: list[str] | None) -> list[str] | None:
    return texts and [user_argument(text) for text in texts]


OneUserArgument = Annotated[
    str | None,
    typer.Argument(metavar="USER", callback=_optional_user, help="The user's opaque id; or name a --region."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="With --region: only show which users it would be.")]


@dataclass(frozen=True)
class _OfARegion:
    """An act on all users of a region, except those for whom it is done already."""

    verb: str
    done: str
    """The verb's participle."""
    users: Callable[[AsyncConnection, str], Awaitable[Iterable[str]]]
    ask: Callable[[SoftStakingClient, str, Act], Awaitable[object]]


async def _unheld(connection: AsyncConnection, region: str) -> list[str]:
    held = await held_users(connection, region)
    return [user for user in await unfinished_users(connection, region) if user not in held]


_HOLD = _OfARegion("hold", "held", _unheld, SoftStakingClient.hold)
_RELEASE = _OfARegion("release", "released", held_users, SoftStakingClient.release)
_DEACTIVATE = _OfARegion(
    "deactivate",
    "deactivated",
    enrolled_users,
    lambda client, user, act: client.deactivate(user, act.reason, operator=act.operator, tell=act.tell),
)


def hold(
    reason: ReasonOption,
    operator: OperatorOption,
    user: OneUserArgument = None,
    region: RegionOption = None,
    tell: TellOption = None,
    dry_run: DryRunOption = False,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Stop a user's loop before its next step, until the user is released. Balances still move; days wait.

    With --region, hold everyone from there who is enrolled or is still owed a day. A user who is held already
    keeps the first hold. For a user who is not enrolled, the hold begins to work with the next activation.

    Example: python starter.py hold 1001 --reason "ticket 4711: balances in doubt"
    """
    act = Act(operator=operator, reason=reason, tell=tell)
    if region is not None:
        _act_on_region(_HOLD, _alone(region, user), act, dry_run=dry_run, timeout=timeout, as_json=as_json)
        return

    user = _named(user, dry_run=dry_run)
    held = _asked(user, timeout, lambda client: client.hold(user, act))
    if as_json:
        print_json({"user": user, "hold": held.model_dump()})
    else:
        print(f"{user} is {hold_text(held)}")


def release(
    reason: ReasonOption,
    operator: OperatorOption,
    user: OneUserArgument = None,
    region: RegionOption = None,
    dry_run: DryRunOption = False,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Let a held user's loop go on. It works through the waiting days with the same numbers as without the hold.

    With --region, release everyone who is held and was ever enrolled from there, whoever held them.

    Example: python starter.py release 1001 --reason "ticket 4711: all is well"
    """
    act = Act(operator=operator, reason=reason)
    if region is not None:
        _act_on_region(_RELEASE, _alone(region, user), act, dry_run=dry_run, timeout=timeout, as_json=as_json)
        return

    user = _named(user, dry_run=dry_run)
    ended = _asked(user, timeout, lambda client: client.release(user, act))
    if as_json:
        print_json({"user": user, "released": ended is not None, "hold": ended and ended.model_dump()})
    else:
        print(f"{user} is released; it was {hold_text(ended)}" if ended else f"{user} is not held.")


def deactivate(
    user: OneUserArgument = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help=WHY)] = None,
    operator: OptionalOperatorOption = None,
    region: RegionOption = None,
    tell: TellOption = None,
    dry_run: DryRunOption = False,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """End a user's enrolment immediately. Owed days are still paid. A repeat prints the first end.

    Without --operator, --reason and --tell, the user asked for it. With one of them it is an operator's act:
    yours, unless you name another. With --region, the enrolments of all users from there end, and --reason is
    needed.

    Example: python starter.py deactivate --region UA --reason "the offer ends there" --dry-run
    """
    if region is not None:
        act = Act(operator=operator or login_name(), reason=_given(reason), tell=tell)
        _act_on_region(_DEACTIVATE, _alone(region, user), act, dry_run=dry_run, timeout=timeout, as_json=as_json)
        return

    user = _named(user, dry_run=dry_run)
    if not operator and (reason is not None or tell):
        operator = login_name()
    end = _asked(
        user,
        timeout,
        lambda client: client.deactivate(
            user, ASKED_BY_THE_USER if reason is None else reason, operator=operator, tell=tell
        ),
    )
    if as_json:
        print_json(end.model_dump(mode="json"))
    else:
        _print_end(user, end)


def resume(
    operator: OperatorOption,
    users: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="USER",
            callback=_users,
            help="Only these users; without any, everyone whose workflow should run.",
        ),
    ] = None,
    reason: OptionalReasonOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which users it would be.")] = False,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Start the workflows that should run and do not, since they were terminated or lost with Temporal's database.

    These are the workflows of users with an open enrolment or with owed days. Each goes on from what the ledger
    has recorded, after the last credited day. Nothing is lost and nothing is paid twice, however often you run it.

    Example: python starter.py resume --reason "Temporal's database was lost"
    """
    act = None if dry_run else Act(operator=operator, reason=_given(reason))

    async def work() -> tuple[list[str], bulk.Results]:
        client = await connect(timeout=timedelta(seconds=timeout))
        async with the_ledger() as ledger:
            return await _resume(ledger, client, users, act, timeout=timedelta(seconds=timeout))

    resumed, outcome = run(work())
    answer: dict[str, object] = {"operator": operator, "reason": reason, "dry_run": dry_run}
    if dry_run:
        answer |= {"resumed": 0, "would": resumed}
        sentences = [*resumed, f"would resume {bulk.counted(len(resumed))}; nothing was done."]
    else:
        answer |= {"resumed": len(resumed)}
        sentences = [f"{bulk.counted(len(resumed))} resumed."]
    sentences[:0] = [
        f"{user}: nothing is to do; its workflow runs, or it is neither enrolled nor owed a day."
        for user in dict.fromkeys(users or [])
        if user not in resumed and user not in outcome.failed
    ]
    bulk.report(outcome, "\n".join(sentences), answer, as_json=as_json)


def acts(
    user: Annotated[
        str | None, typer.Argument(metavar="USER", callback=_optional_user, help="Only acts on this user.")
    ] = None,
    last: Annotated[
        int, typer.Option("--last", min=1, max=_ACTS_MAX, metavar="N", help="How many of the latest acts.")
    ] = 50,
    all_: Annotated[bool, typer.Option("--all", help="All acts, however many there are.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what operators did to users' loops and balances, to pools and the program, to keys and tokens, the
    newest last. Each act has its operator and its reason.

    Example: python starter.py acts 1001 --last 10
    """

    async def work() -> list[RecordedAct]:
        async with the_ledger() as ledger:
            if user is not None:
                await refuse_stranger_to_ledger(ledger, user)
            async with ledger.read(takes_long=all_) as connection:
                return await latest_acts(connection, user, last=None if all_ else last)

    found = run(work())
    if as_json:
        print_json([_act_json(act) for act in found])
        return
    if not found:
        print("no act of an operator is recorded." if user is None else f"no act of an operator concerned {user}.")
        return
    columns = [Column(title) for title in ("recorded at", "user", "act", "on", "operator")]
    print_table(
        [*columns, Column("reason", is_prose=True), Column("text for the user", is_prose=True)],
        [_act_row(act) for act in found],
    )


def _act_json(act: RecordedAct) -> dict[str, object]:
    return {
        "recorded_at": act.recorded_at,
        "user": act.user_id,
        "act": act.kind,
        "subject": act.subject,
        "operator": act.operator,
        "reason": act.reason,
        "tell": act.tell,
    }


def _act_row(act: RecordedAct) -> list[str]:
    return [
        instant_text(act.recorded_at),
        act.user_id or "",
        act.kind,
        act.subject or "",
        act.operator,
        act.reason or "none given",
        act.tell or "",
    ]


async def _resume(
    ledger: Ledger, client: Client, users: list[str] | None, act: Act | None, *, timeout: timedelta
) -> tuple[list[str], bulk.Results]:
    """The users who were resumed, or would be in a dry run."""
    service = SoftStakingClient(client, timeout=timeout)
    await refuse_strangers(service, users or [])
    async with ledger.read(takes_long=True) as connection:
        unfinished = await unfinished_users(connection)
    if users:
        wanted = [user for user in unfinished if user in set(users)]
    else:
        # A workflow that the list shows as running is running. One that it does not show may be running too, since
        # the list lags.
        running = {user async for user in running_users(client)}
        wanted = [user for user in unfinished if user not in running]
    resumed: list[str] = []

    async def resume_if_it_stands_still(user: str) -> None:
        if await service.is_running(user):
            return
        if act is not None:
            await record_act(ledger, user, "resume", act, act_id=str(uuid4()), now=now())
            await service.resume(user)
        resumed.append(user)

    outcome = await bulk.for_each("resuming" if act else "looking", wanted, resume_if_it_stands_still)
    if act is not None and resumed:
        # One user is enough to see it, and only if a worker answers, since a resumption needs no worker.
        with suppress(ServiceError):
            if problem := await disagreement_once_started(ledger, resumed[0], service):
                raise CommandFailed(f"{bulk.counted(len(resumed))} resumed, but {problem}")
    return sorted(resumed), outcome


def _act_on_region(
    kind: _OfARegion,
    region: str,
    act: Act,
    *,
    dry_run: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Carries out one act on every user of a region whom it concerns. A dry run only lists these users."""

    async def whom() -> list[str]:
        async with the_ledger() as ledger, ledger.read(takes_long=True) as connection:
            return list(await kind.users(connection, region))

    async def act_on(users: list[str]) -> bulk.Results:
        limit = timedelta(seconds=timeout)
        client = SoftStakingClient(await connect(timeout=limit), timeout=limit)
        return await bulk.for_each(f"{region}: {kind.verb}", users, lambda user: kind.ask(client, user, act))

    users = run(whom())
    answer = {"region": region, "operator": act.operator, "reason": act.reason, "dry_run": dry_run}
    if dry_run:
        if as_json:
            print_json({**answer, "users": len(users), "would": users})
        else:
            print(
                "\n".join([*users, f"{region}: would {kind.verb} {bulk.counted(len(users))}; nothing was done."])
            )
        return
    outcome = run(act_on(users))
    bulk.report(outcome, f"{region}: {bulk.counted(outcome.done)} {kind.done}.", answer, as_json=as_json)


def _asked(user: str, timeout: float, ask: Callable[[SoftStakingClient], Awaitable[_Answer]]) -> _Answer:
    """The answer of one user's workflow. An unknown user is refused."""

    async def work() -> _Answer:
        limit = timedelta(seconds=timeout)
        client = SoftStakingClient(await connect(timeout=limit), timeout=limit)
        await refuse_strangers(client, [user])
        return await ask(client)

    return run(work())


def _alone(region: str, user: str | None) -> str:
    if user is not None:
        raise typer.BadParameter("either a USER or a --region is named, not both")
    return region


def _named(user: str | None, *, dry_run: bool) -> str:
    if user is None:
        raise typer.BadParameter("a USER or a --region is missing")
    if dry_run:
        raise typer.BadParameter("--dry-run goes with --region")
    return user


def _given(reason: str | None) -> str:
    if reason is None:
        raise typer.BadParameter("--reason is missing; it is recorded")
    return reason


def _print_end(user: str, end: End) -> None:
    last = f"the last accrual day is {end.last_accrual_day}" if end.last_accrual_day else "no day has earned"
    owed = f"; {end.owed_days} owed days will still be paid" if end.owed_days else ""
    print(f"{user} ended at {instant_text(end.ended_at)}; {last}{owed}.")
