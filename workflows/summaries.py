"""What a history says to the operator who opens it: the summaries of starts, steps and timers."""

from collections.abc import Mapping
from datetime import date, datetime

from contract.acts import Hold
from contract.requests import CreditRequest, EndRequest
from staking.models import Activation
from staking.money import format_amount

_SUMMARY_BYTES_MAX = 150
"""A server allows 400 bytes for the payload, in which every character may be escaped and all may be encrypted."""
STEPS_OF_A_DAY = (
    "One execution per user. At every boundary (00:00 UTC) it runs `snapshot`, `compute` and `credit` for the day "
    "that closed. It waits while a source is late, while a pool is short, while an operator holds the user, "
    "or while a step is blocked, and then catches up day by day with the numbers that would have been."
)


def summary(text: str) -> str:
    """The text on one line, cut where it is too long, since a server refuses the task for a longer summary."""
    line = "".join(character if character.isprintable() else " " for character in text)
    data = line.encode()
    return line if len(data) <= _SUMMARY_BYTES_MAX else data[:_SUMMARY_BYTES_MAX].decode(errors="ignore") + "…"


def user_summary(user_id: str) -> str:
    """The one line beside a workflow in a list."""
    return f"Soft Staking of user {user_id}"


def start_details(cause: str) -> str:
    """The details of a start. They stay with the run that the request started."""
    return f"Started by {cause}.\n\n{STEPS_OF_A_DAY}"


def activation_text(activation: Activation) -> str:
    """An activation, as a start's cause and a step's summary name it."""
    app = f" {activation.app_version}" if activation.app_version else ""
    text = f"activation · region {activation.region} · {activation.channel}{app}"
    if activation.back_dating:
        since = activation.back_dating.activated_at
        text += f" · dated back to {instant_text(since)} by {activation.back_dating.operator}"
    return text


def step_text(day: date, step: str, request: object) -> str:
    """What a step of a day is about to do; a credit names its amounts."""
    text = f"{day} · {step}"
    if isinstance(request, EndRequest):
        return f"{text} · {request.reason}"
    if isinstance(request, CreditRequest):
        amounts = {line.asset: line.reward for line in request.rewards.lines if line.reward}
        return f"{text} {amounts_text(amounts)}"
    return text


def hold_text(hold: Hold) -> str:
    """A hold in one line."""
    return f"held by {hold.operator} since {instant_text(hold.held_at)}: {hold.reason}"


def amounts_text(units_by_asset: Mapping[str, int]) -> str:
    """Amounts in tokens, from units of 10⁻⁸ by asset."""
    return ", ".join(f"{format_amount(units)} {asset}" for asset, units in units_by_asset.items()) or "nothing"


def instant_text(instant: datetime) -> str:
    """An instant in UTC, to the second."""
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
