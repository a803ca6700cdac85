"""What a history says to the operator who opens it: summaries, and the details of now as Markdown."""

from collections.abc import Mapping
from datetime import date, datetime

from staking.days import end_of
from staking.models import Activation, Blocked, CreditRequest, EndRequest, Enrolment, Hold
from staking.money import format_amount

_SUMMARY_BYTES_MAX = 150
"""A server allows 400 bytes, of a payload in which every character may be escaped and all of it encrypted."""
STEPS_OF_A_DAY = (
    "One execution per user. At every boundary (00:00 UTC) it runs `snapshot`, `compute` and `credit` for the day "
    "that closed. It waits while a pool is short, while an operator holds the user, or while a step is blocked, "
    "and then catches up day by day with the numbers that would have been."
)


def summary(text: str) -> str:
    """The text, short enough for a server that refuses a workflow's task for a longer one."""
    line = "".join(character if character.isprintable() else " " for character in text)
    data = line.encode()
    return line if len(data) <= _SUMMARY_BYTES_MAX else data[:_SUMMARY_BYTES_MAX].decode(errors="ignore") + "…"


def user_summary(user_id: str) -> str:
    """The one line beside a workflow in a list."""
    return f"Soft Staking of user {user_id}"


def start_details(cause: str) -> str:
    """What stays with a run that a request has started."""
    return f"Started by {cause}.\n\n{STEPS_OF_A_DAY}"


def activation_text(activation: Activation) -> str:
    """An activation, as a start's cause and a step's summary name it."""
    app = f" {activation.app_version}" if activation.app_version else ""
    text = f"activation · region {activation.region} · {activation.channel}{app}"
    if activation.back_dating:
        since = activation.back_dating.activated_at
        text += f" · dated back to {_instant_text(since)} by {activation.back_dating.operator}"
    return text


def step_text(day: date, step: str, request: object) -> str:
    """What a step of a day is about to do; a credit names its amounts."""
    text = f"{day} · {step}"
    if isinstance(request, EndRequest):
        return f"{text} · {request.reason}"
    if isinstance(request, CreditRequest):
        amounts = {line.asset: line.reward for line in request.rewards.lines if line.reward}
        return f"{text} {_amounts_text(amounts)}"
    return text


def hold_text(hold: Hold) -> str:
    """A hold in one line."""
    return f"held by {hold.operator} since {_instant_text(hold.held_at)}: {hold.reason}"


def current_details(
    *,
    user_id: str,
    state: str,
    enrolment: Enrolment | None,
    wakes_at: datetime | None,
    last_credited_day: date | None,
    credited: Mapping[str, int],
    hold: Hold | None,
    blocked: Blocked | None,
) -> str:
    """Where a user's loop stands, as a Markdown table, and what it is. Instants and days are UTC, amounts tokens.

    The summary and details of a start do not outlive its run, so that these must be enough.
    """
    boundary = end_of(enrolment.next_day) if enrolment and state == "sleeping" else None
    rows = {
        "state": state,
        "active since": enrolment and _instant_text(enrolment.receipt.activated_at),
        "last accrual day": enrolment and enrolment.last_accrual_day,
        "last credited day": last_credited_day or "none yet",
        "day in progress": enrolment and enrolment.next_day,
        "next boundary": boundary and _instant_text(boundary),
        "credited so far": _amounts_text(credited),
        "waits for": _what_it_waits_for(state, boundary, wakes_at, hold, blocked),
    }
    lines = [f"| {_name(name)} | {_cell(value)} |" for name, value in rows.items() if value is not None]
    heading = f"| {_name('Soft Staking')} | of user {user_id} |"
    return "\n".join([heading, "|:--|:--|", *lines, "", STEPS_OF_A_DAY])


def _what_it_waits_for(
    state: str, boundary: datetime | None, wakes_at: datetime | None, hold: Hold | None, blocked: Blocked | None
) -> str | None:
    if hold is not None:
        return f"a release: {hold_text(hold)}"
    if blocked is not None:
        return f"a retry of {blocked.step} of {blocked.day}: {blocked.message}"
    if state.startswith("waiting for pool"):
        return f"the {state.removeprefix('waiting for ')} to be funded; it is asked again by itself"
    if boundary is None or wakes_at is None:
        return None
    return "the boundary" if wakes_at == boundary else f"its turn after the boundary, {_instant_text(wakes_at)}"


def _amounts_text(units_by_asset: Mapping[str, int]) -> str:
    return ", ".join(f"{format_amount(units)} {asset}" for asset, units in units_by_asset.items()) or "nothing"


def _name(name: str) -> str:
    """A browser would put names close to the values, and break them where it could rather break the values."""
    return f"{name} ".replace(" ", "\N{NO-BREAK SPACE}")


def _cell(value: object) -> str:
    """Text from outside must not end the cell, nor the row."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _instant_text(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
