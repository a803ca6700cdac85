"""What a history says to the operator who opens it: summaries, and the details of now as Markdown."""

from collections.abc import Mapping
from datetime import date, datetime

from staking.models import Activation, Blocked, Enrolment, Hold
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


def hold_text(hold: Hold) -> str:
    """A hold in one line."""
    return f"held by {hold.operator} since {_instant_text(hold.held_at)}: {hold.reason}"


def current_details(
    *,
    state: str,
    enrolment: Enrolment | None,
    wakes_at: datetime | None,
    last_credited_day: date | None,
    credited: Mapping[str, int],
    hold: Hold | None,
    blocked: Blocked | None,
) -> str:
    """Where a user's loop stands, as a Markdown table. Instants and days are UTC, amounts tokens."""
    rows = {
        "state": state,
        "active since": enrolment and _instant_text(enrolment.receipt.activated_at),
        "last accrual day": enrolment and enrolment.last_accrual_day,
        "last credited day": last_credited_day or "none yet",
        "day in progress": enrolment and enrolment.next_day,
        "next boundary": wakes_at and _instant_text(wakes_at),
        "credited so far": ", ".join(f"{format_amount(units)} {asset}" for asset, units in credited.items())
        or "nothing yet",
        "waits for": _what_it_waits_for(state, wakes_at, hold, blocked),
    }
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items() if value is not None]
    return "\n".join(["| Soft Staking | |", "|---|---|", *lines])


def _what_it_waits_for(
    state: str, wakes_at: datetime | None, hold: Hold | None, blocked: Blocked | None
) -> str | None:
    if hold is not None:
        return f"a release: {hold_text(hold)}"
    if blocked is not None:
        return f"a retry of {blocked.step} of {blocked.day}: {blocked.message}"
    if state.startswith("waiting for pool"):
        return f"the {state.removeprefix('waiting for ')} to be funded; it is asked again by itself"
    return None if wakes_at is None else "the boundary"


def _cell(value: object) -> str:
    """Text from outside must not end the cell, nor the row."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _instant_text(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
