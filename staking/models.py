"""The models that the rules are about: what a user did, held, and earns. Instants are UTC, days are UTC days."""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from staking.days import in_utc
from staking.money import Units
from staking.program import AppVersion, RegionCode
from staking.rewards import Outcome

USER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a whole user id must match."""
REASON_LENGTH_MAX = 500
"""Characters of a reason, of an operator's name, and of a text for the user; each has at least one."""


def check_user_id(text: str) -> str:
    """A user id as it came. Raises ValueError unless it is 1 to 64 of A–Z a–z 0–9 . _ -"""
    if not USER_ID.fullmatch(text):
        shown = text if len(text) <= 70 else f"{text[:67]}…"
        raise ValueError(f"{shown!r} is not a user id: 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'")
    return text


UserId = Annotated[str, AfterValidator(check_user_id)]
Instant = Annotated[AwareDatetime, AfterValidator(in_utc)]
Reason = Annotated[str, Field(min_length=1, max_length=REASON_LENGTH_MAX)]


class Model(BaseModel):
    """Immutable, and strict about unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BackDating(Model):
    """An operator's statement that a user was enrolled earlier, elsewhere."""

    activated_at: Instant
    operator: Reason
    reason: Reason


class Activation(Model):
    """What a user did and saw when pressing Start Earning."""

    region: RegionCode
    """ISO 3166-1 or 3166-2."""
    channel: Literal["web", "app", "api"]
    app_version: AppVersion | None = None
    documents: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict[str, str])
    """The document versions that were shown and accepted, by name."""
    back_dating: BackDating | None = None

    @field_validator("region", mode="before")
    @classmethod
    def _upper_case(cls, region: object) -> object:
        # Only ASCII, since "ß" in upper case is "SS", which is South Sudan.
        return region.upper() if isinstance(region, str) and region.isascii() else region


class RefusalReason(Model):
    """One reason of rule 7."""

    code: str
    sentence: str


class Holding(Model):
    """A user's holding of one program asset over a day."""

    asset: str
    opening: Units
    """Just before the day's 00:00."""
    closing: Units
    """Just before the next day's 00:00."""
    average: Units


class Snapshot(Model):
    """What is fixed at a boundary for one user and closed day: the program assets with a holding or a movement."""

    day: date
    holdings: list[Holding]


class RewardLine(Model):
    """The result of an accrual day in one asset, with the terms with which it was computed."""

    asset: str
    average: Units
    minimum: str
    cap: str
    apr: str
    reward: Units
    outcome: Outcome
    formula: int = 1
    """The number of rule 3's formula with which the reward was computed."""


class Rewards(Model):
    """An accrual day's rewards."""

    kind: Literal["rewards"] = "rewards"
    day: date
    program_version: int
    lines: list[RewardLine]


class EndsHere(Model):
    """Rule 7: the user's region is restricted on this day, which is therefore no accrual day."""

    kind: Literal["ends_here"] = "ends_here"
    day: date
    reason: str


class CreditReceipt(Model):
    """A day was credited, once."""

    kind: Literal["credited"] = "credited"
    day: date
    credited_at: Instant
    late: bool
    entry_id: int | None
    """The journal entry; None for a day whose rewards are all zero."""


class SourceLate(Model):
    """A day cannot be closed yet: these sources have not sent everything that happened before its end."""

    kind: Literal["source_late"] = "source_late"
    day: date
    sources: list[str]


class PoolShort(Model):
    """Rule 13: the reward pool cannot pay the whole day, so nothing of it was paid."""

    kind: Literal["pool_short"] = "pool_short"
    day: date
    assets: list[str]
