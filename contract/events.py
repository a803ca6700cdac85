"""What systems outside are told of: the data of each event. Instants are UTC, days are UTC days.

``docs/events/`` has a JSON Schema of each, which a test compares with these models.
"""

from datetime import date
from typing import Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict

from staking.models import Instant, Model, RefusalReason
from staking.money import Units
from staking.rewards import Outcome

EventKind: TypeAlias = Literal[
    "enrolment.began",
    "enrolment.ended",
    "reward.credited",
    "reward.reversed",
    "movement.refused",
    "program.applied",
    "day.delayed",
]


def event_kind(text: str) -> EventKind:
    """The type of an event as it came. Raises ValueError if there is none such."""
    kinds: tuple[EventKind, ...] = get_args(EventKind)
    for kind in kinds:
        if kind == text:
            return kind
    raise ValueError(f"{text[:40]!r} is no type of an event; there are {', '.join(kinds)}")


class EnrolmentBegan(Model):
    """A user was enrolled."""

    enrolment_id: str
    activated_at: Instant
    first_accrual_day: date
    first_reward_from: Instant
    first_reward_until: Instant
    region: str
    channel: str
    back_dated: bool
    """Whether an operator dated the activation back."""


class EnrolmentEnded(Model):
    """A user's enrolment ended, or an end that was told before is on an earlier day."""

    enrolment_id: str
    ended_at: Instant
    last_accrual_day: date | None
    """None if no day was ever accrued."""
    owed_days: int
    """Accrual days that are not credited yet; they are still paid."""
    reason: str
    """The reason of a rule or of the user, or that an operator ended it, whose own reason is not told."""
    message: str | None
    """What an operator who ended it tells the user."""


class CreditedLine(Model):
    """What a day brought in one asset."""

    asset: str
    reward: Units
    outcome: Outcome
    """Why the reward is zero, if it is (rule 12)."""


class RewardCredited(Model):
    """A user's day was credited, once."""

    day: date
    credited_at: Instant
    late: bool
    entry_id: int | None
    """The journal entry; None if all rewards of the day are zero."""
    lines: list[CreditedLine]


class ReversedLine(Model):
    """What was taken back in one asset."""

    asset: str
    amount: Units


class RewardReversed(Model):
    """A day's reward was taken back by an operator. The day is not paid again."""

    day: date
    entry_id: int
    """The journal entry that takes it back."""
    reversed_entry_id: int
    """The one that was told with the credit."""
    lines: list[ReversedLine]
    message: str | None
    """What the operator tells the user."""


class RefusedContent(Model):
    """A movement as it was sent."""

    id: str
    user: str
    asset: str
    amount: str
    at: str
    group: str | None


class MovementRefused(Model):
    """A movement of a feed could not be posted, for the first time or for a new reason. It is kept."""

    movement: RefusedContent
    reason: RefusalReason


class AppliedTerms(Model):
    """The terms of one asset."""

    minimum: str
    cap: str
    apr: str
    paused: bool


class ProgramApplied(Model):
    """New terms of the offer were recorded; also where an asset is paused or resumed."""

    version: int
    effective_from: date
    assets: dict[str, AppliedTerms]


class DayDelayed(Model):
    """A user's day is owed past its deadline."""

    day: date
    due_until: Instant


EventData: TypeAlias = (
    EnrolmentBegan
    | EnrolmentEnded
    | RewardCredited
    | RewardReversed
    | MovementRefused
    | ProgramApplied
    | DayDelayed
)

SOURCE = "/soft-staking"


class CloudEvent(BaseModel):
    """An event as it goes out: CloudEvents 1.0, with an attribute of our own, ``cursor``."""

    specversion: Literal["1.0"]
    id: str
    """The same for the same happening: whoever gets an event twice knows it by its id."""
    source: str
    type: EventKind
    subject: str | None = None
    """The user; left out if it does not concern a single user."""
    time: Instant
    """When it was recorded."""
    datacontenttype: Literal["application/json"]
    cursor: str
    """What was read with this event: send it as ``after`` to go on after it."""
    data: EventData

    model_config = ConfigDict(frozen=True)


DATA_OF: dict[EventKind, type[EventData]] = {
    "enrolment.began": EnrolmentBegan,
    "enrolment.ended": EnrolmentEnded,
    "reward.credited": RewardCredited,
    "reward.reversed": RewardReversed,
    "movement.refused": MovementRefused,
    "program.applied": ProgramApplied,
    "day.delayed": DayDelayed,
}


def schema_of(kind: EventKind) -> dict[str, Any]:
    """The JSON Schema of an event of a kind. Members that it does not name may be added later."""
    of_data = DATA_OF[kind].model_json_schema(mode="serialization", ref_template="#/$defs/{model}")
    definitions = of_data.pop("$defs", {})
    for described in (of_data, *definitions.values()):
        described.pop("additionalProperties", None)
    text: dict[str, Any] = {"type": "string"}
    properties: dict[str, Any] = {
        "specversion": {"const": "1.0"},
        "id": text,
        "source": text,
        "type": {"const": kind},
        "subject": text,
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "cursor": text,
        "data": of_data,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind,
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name != "subject"],
        "$defs": definitions,
    }
