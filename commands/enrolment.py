"""activate and status."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from commands.agreement import another_ledger, disagreement, is_of_another_ledger
from commands.arguments import TimeoutOption, UserArgument, parse_instant
from commands.entrance import the_ledger
from commands.known_users import refuse_strangers
from commands.output import JsonOption, amounts, instant_text, print_fields, print_json
from contract.answers import Receipt, Refusal
from contract.errors import RequestRefused, ServiceError
from contract.live_status import LiveStatus
from ledger.database.engine import Ledger
from ledger.errors import NoProgram
from ledger.programs import program_on
from ledger.reading.doing import UNKNOWN, doing
from ledger.reading.standing import Standing, standing_of
from running.process import FAILED, CommandFailed, now, run, say
from staking.days import day_of
from staking.eligibility import DOCUMENT_NOT_ACCEPTED
from staking.models import Activation, BackDating
from temporal.client import SoftStakingClient, send_activation
from temporal.connection import connect


class Channel(StrEnum):
    """Where the user pressed Start Earning."""

    WEB = "web"
    APP = "app"


def activate(
    user: UserArgument,
    region: Annotated[str, typer.Option(help="ISO 3166-1 or 3166-2 code, such as FR or UA-43.")],
    channel: Annotated[Channel, typer.Option(help="Where the user pressed Start Earning.")],
    app_version: Annotated[
        str | None, typer.Option(help="The app's version. It is needed on the channel app.")
    ] = None,
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="The user accepted every document in its version in force.")
    ] = False,
    activated_at: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_instant,
            metavar="ISO",
            help="For operators: the past instant of an activation made elsewhere; UTC unless it says otherwise. "
            "Needs --operator and --reason.",
        ),
    ] = None,
    operator: Annotated[str | None, typer.Option(help="Who dates the activation back.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why the activation is dated back.")] = None,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Enrol a user, as Start Earning does. A repeat prints the first receipt.

    Example: python starter.py activate 1001 --region FR --channel web --accept-terms
    """
    back_dating: BackDating | None = None
    if activated_at is not None:
        if not operator or not reason:
            raise typer.BadParameter("--activated-at needs --operator and --reason, which are recorded with it")
        back_dating = BackDating(activated_at=activated_at, operator=operator, reason=reason)
    elif operator or reason:
        raise typer.BadParameter("--operator and --reason go with --activated-at")

    activation = Activation(region=region, channel=channel.value, app_version=app_version, back_dating=back_dating)

    async def work() -> tuple[Receipt | Refusal, str | None]:
        client = await connect(timeout=timedelta(seconds=timeout))

        async def send(documents: dict[str, str]) -> Receipt | Refusal:
            complete = activation.model_copy(update={"documents": documents})
            return await send_activation(client, user, complete, timeout=timedelta(seconds=timeout))

        if not accept_terms:
            return await send({}), None
        async with the_ledger() as ledger:
            return await _with_documents_in_force(ledger, activated_at or now(), send)

    answer, problem = run(work())
    if as_json:
        print_json(answer.model_dump(mode="json"))
    elif isinstance(answer, Receipt):
        _print_receipt(user, answer)
    else:
        for refused in answer.reasons:
            say(f"refused, {refused.code}: {refused.sentence}")
    if problem:
        say(problem)
    if problem or isinstance(answer, Refusal):
        raise typer.Exit(FAILED)


async def _with_documents_in_force(
    ledger: Ledger, instant: datetime, send: Callable[[dict[str, str]], Awaitable[Receipt | Refusal]]
) -> tuple[Receipt | Refusal, str | None]:
    """The answer, and a sentence about how it contradicts the ledger from which the accepted documents came."""
    documents = await documents_in_force(ledger, instant)
    try:
        answer = await send(documents)
    except RequestRefused as error:
        if documents and error.code == NoProgram.__name__:
            raise CommandFailed(str(error), another_ledger(ledger)) from error
        raise
    if isinstance(answer, Receipt):
        differs = await is_of_another_ledger(ledger, answer.enrolment_id)
    else:
        differs = any(reason.code.startswith(DOCUMENT_NOT_ACCEPTED) for reason in answer.reasons)
    return answer, another_ledger(ledger) if differs else None


async def documents_in_force(ledger: Ledger, instant: datetime) -> dict[str, str]:
    """The document versions that an activation at an instant must accept; empty before the first program."""
    async with ledger.read() as connection:
        try:
            return (await program_on(connection, day_of(instant))).program.documents
        except NoProgram:
            return {}


def _print_receipt(user: str, receipt: Receipt) -> None:
    print(f"{user} is enrolled since {instant_text(receipt.activated_at)} (enrolment {receipt.enrolment_id}).")
    print(f"Day 2 begins {instant_text(receipt.first_snapshot_at)}: from then on every day earns.")
    print(
        f"The first reward arrives between {instant_text(receipt.first_reward_from)} "
        f"and {instant_text(receipt.first_reward_until)}."
    )


def status(user: UserArgument, timeout: TimeoutOption = 10, as_json: JsonOption = False) -> None:
    """Print how a user stands: enrolment, tag, totals, owed days, and what the workflow does right now."""

    async def work() -> tuple[Standing, LiveStatus | None, str | None]:
        limit = timedelta(seconds=timeout)
        # The ledger is read second. So it may be ahead of what the workflow said, but never behind it.
        async with the_ledger() as ledger:
            live, problem = None, None
            try:
                client = SoftStakingClient(await connect(timeout=limit), timeout=limit)
                live = await client.status(user)
                if live is None:
                    await refuse_strangers(client, [user])
                else:
                    problem = await disagreement(ledger, user, live, lambda: client.status(user))
            except ServiceError as error:
                problem = f"the workflow's live state is unknown: {error}"
            return await standing_of(ledger, user, now=now()), None if problem else live, problem

    standing, live, problem = run(work())
    answer = _status(standing, live, problem)
    if as_json:
        print_json(answer)
    else:
        _print_status(answer)
    if problem:
        say(problem)
        raise typer.Exit(FAILED)


def _status(standing: Standing, live: LiveStatus | None, problem: str | None) -> dict[str, Any]:
    tag = {"asset": standing.tagged_asset, "colour": standing.tag_colour} if standing.tagged_asset else None
    now_doing = UNKNOWN if problem else doing(standing, live)
    return {
        "user": standing.user_id,
        "enrolled": standing.enrolled,
        "state": now_doing.state,
        "tag": tag,
        "enrolment_id": standing.receipt and standing.receipt.enrolment_id,
        "activated_at": standing.receipt and standing.receipt.activated_at,
        "first_snapshot_at": standing.receipt and standing.receipt.first_snapshot_at,
        "first_reward_from": standing.receipt and standing.receipt.first_reward_from,
        "first_reward_until": standing.receipt and standing.receipt.first_reward_until,
        "ended_at": standing.ended_at,
        "end_reason": standing.end_reason,
        "last_credited_day": standing.last_credited_day,
        "owed_days": standing.owed_days,
        "day_in_progress": now_doing.day_in_progress,
        "next_boundary": now_doing.next_boundary,
        "blocked": now_doing.blocked and now_doing.blocked.model_dump(),
        "hold": standing.hold and standing.hold.model_dump(),
        "holdings": amounts(standing.holdings),
        "totals": amounts(standing.totals),
    }


def _print_status(answer: dict[str, Any]) -> None:
    lines = {
        "user": answer["user"],
        "enrolled": "yes" if answer["enrolled"] else "no",
        "state": answer["state"],
        "tag": "none" if answer["tag"] is None else f"{answer['tag']['asset']} ({answer['tag']['colour']})",
        "active since": answer["activated_at"] and instant_text(answer["activated_at"]),
        "first reward from": answer["first_reward_from"] and instant_text(answer["first_reward_from"]),
        "ended": answer["ended_at"] and f"{instant_text(answer['ended_at'])}, {answer['end_reason']}",
        "last credited day": answer["last_credited_day"],
        "owed days": _days_text(answer["owed_days"]),
        "day in progress": answer["day_in_progress"],
        "next boundary": answer["next_boundary"] and instant_text(answer["next_boundary"]),
        "blocked": answer["blocked"]
        and "at {step} of {day}: {message}; mend it, then: starter.py retry {user}".format(
            **answer["blocked"], user=answer["user"]
        ),
        "hold": answer["hold"]
        and "by {operator} since {since}: {reason}; to let it go on: starter.py release {user} --reason …".format(
            **answer["hold"], user=answer["user"], since=instant_text(answer["hold"]["held_at"])
        ),
        "holdings": ", ".join(f"{amount} {asset}" for asset, amount in answer["holdings"].items()) or "none",
        "rewards so far": ", ".join(f"{amount} {asset}" for asset, amount in answer["totals"].items()) or "none",
    }
    print_fields({name: str(value) for name, value in lines.items() if value is not None})


def _days_text(days: list[date]) -> str:
    if len(days) > 1:
        return f"{len(days)}, {days[0]} to {days[-1]}"
    return str(days[0]) if days else "none"
