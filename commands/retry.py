"""retry: try blocked steps again and ask empty pools now, for one user or for many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from uuid import uuid4

import typer
from temporalio.client import Client

from commands import bulk
from commands.agreement import another_ledger, is_of_another_ledger
from commands.arguments import OperatorOption, ReasonOption, TimeoutOption, asset_code, user_argument
from commands.entrance import the_ledger
from commands.known_users import refuse_strangers
from commands.output import JsonOption, print_json
from contract.acts import Act
from contract.errors import RequestRefused
from contract.live_status import LiveStatus
from ledger.acts import record_act
from ledger.database.engine import Ledger
from ledger.pools import check_asset
from ledger.reading.waiting import users_to_be_paid
from running.process import now, run
from staking.days import day_of
from temporal.client import SoftStakingClient
from temporal.connection import connect
from temporal.visibility import users_in_state
from workflows import search_attributes
from workflows.showing import pools_waited_for

TRY_AGAIN = "to be tried again"


@dataclass(frozen=True)
class _Many:
    """Which users a retry of many concerns."""

    waiting_for: str | None
    message: str | None
    """A text that the problem of a blocked user must contain."""

    def concerns(self, status: LiveStatus) -> bool:
        if self.waiting_for is not None:
            return self.waiting_for in pools_waited_for(status.state)
        return status.blocked is not None and (self.message is None or self.message in status.blocked.message)

    async def candidates(self, ledger: Ledger, client: Client) -> list[str]:
        """The users who may be concerned, by id. Raises UnknownAsset, NoProgram or ServiceError."""
        if self.waiting_for is None:
            return sorted(await users_in_state(client, search_attributes.BLOCKED))
        async with ledger.read(takes_long=True) as connection:
            await check_asset(connection, self.waiting_for)
            return await users_to_be_paid(connection, self.waiting_for, day_of(now()))

    @property
    def nobody(self) -> str:
        if self.waiting_for is not None:
            return f"nobody waits for the {self.waiting_for} pool."
        return "nobody is blocked." if self.message is None else f"nobody is blocked with {self.message!r}."


def _user(text: str | None) -> str | None:
    return None if text is None else user_argument(text)


def retry(
    operator: OperatorOption,
    user: Annotated[
        str | None,
        typer.Argument(
            metavar="USER", callback=_user, help="The user's opaque id; without it, name many users by an option."
        ),
    ] = None,
    waiting_for: Annotated[
        str | None,
        typer.Option(
            "--waiting-for",
            callback=asset_code,
            metavar="ASSET",
            help="All users who wait for the pool of this asset, such as SOL.",
        ),
    ] = None,
    blocked: Annotated[bool, typer.Option("--blocked", help="All users whose loop is blocked.")] = False,
    message: Annotated[
        str | None,
        typer.Option(
            "--message", metavar="TEXT", help="With --blocked: only users whose problem has these words."
        ),
    ] = None,
    reason: ReasonOption = TRY_AGAIN,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Of many users: only show which they would be.")
    ] = False,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Try a blocked step again, or ask an empty pool now, for one user or for many.

    `status` says what a user waits for, and why. Who waits for a pool is read from the ledger, without users who
    are held. Who is blocked is read from Temporal, whose lists lag by moments.

    Example: python starter.py retry --waiting-for SOL --reason "pool funded"
    """
    act = Act(operator=operator, reason=reason)
    if user is not None:
        if waiting_for is not None or blocked or message is not None or dry_run:
            raise typer.BadParameter("a USER is retried alone: without --waiting-for, --blocked and --dry-run")
        _retry_one(user, act, timeout=timeout, as_json=as_json)
        return
    if blocked == (waiting_for is not None):
        raise typer.BadParameter("name a USER, --waiting-for ASSET or --blocked; one of them")
    if message is not None and not blocked:
        raise typer.BadParameter("--message goes with --blocked")
    many = _Many(waiting_for, message)

    async def work() -> tuple[list[str], bulk.Results]:
        limit = timedelta(seconds=timeout)
        client = await connect(timeout=limit)
        async with the_ledger() as ledger:
            users = await many.candidates(ledger, client)
            service = SoftStakingClient(client, timeout=limit)
            return await _retry_many(ledger, service, users, many.concerns, None if dry_run else act)

    retried, outcome = run(work())
    answer: dict[str, object] = {"waiting_for": waiting_for, "blocked": blocked, "message": message}
    answer |= {"operator": operator, "reason": reason, "dry_run": dry_run}
    answer |= {"retried": 0, "would": retried} if dry_run else {"retried": len(retried)}
    if not retried:
        sentence = many.nobody
    elif dry_run:
        sentence = "\n".join([*retried, f"would retry {bulk.counted(len(retried))}; nothing was done."])
    else:
        sentence = f"{bulk.counted(len(retried))} retried."
    bulk.report(outcome, sentence, answer, as_json=as_json)


def _retry_one(user: str, act: Act, *, timeout: float, as_json: bool) -> None:
    async def work() -> bool:
        limit = timedelta(seconds=timeout)
        client = SoftStakingClient(await connect(timeout=limit), timeout=limit)
        status = await client.status(user)
        if status is None:
            await refuse_strangers(client, [user])
        if status is None or not (status.blocked or pools_waited_for(status.state)):
            return False
        async with the_ledger() as ledger:
            return await _ask(ledger, client, user, status, act)

    waited = run(work())
    if as_json:
        print_json({"user": user, "retried": waited})
    else:
        print(f"{user}: the step is taken up again." if waited else f"{user}: nothing is blocked or waiting.")


async def _retry_many(
    ledger: Ledger,
    client: SoftStakingClient,
    users: Sequence[str],
    concerns: Callable[[LiveStatus], bool],
    act: Act | None,
) -> tuple[list[str], bulk.Results]:
    """The users who were retried, or would be in a dry run, by id."""
    retried: list[str] = []

    async def retry_if_concerned(user: str) -> None:
        status = await client.status(user)
        if status is None or not concerns(status):
            return
        if act is None or await _ask(ledger, client, user, status, act):
            retried.append(user)

    outcome = await bulk.for_each("retrying" if act else "looking", users, retry_if_concerned)
    return sorted(retried), outcome


async def _ask(ledger: Ledger, client: SoftStakingClient, user: str, status: LiveStatus, act: Act) -> bool:
    if await is_of_another_ledger(ledger, status.enrolment_id):
        raise RequestRefused("AnotherLedger", f"{user} is not retried: {another_ledger(ledger)}")
    await record_act(ledger, user, "retry", act, act_id=str(uuid4()), now=now())
    return await client.retry(user, act)
