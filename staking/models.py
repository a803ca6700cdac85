"""The models that cross Temporal and the other borders of this program. Instants are UTC, days are UTC days."""

import re
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from staking.days import day_of, in_utc
from staking.money import Units
from staking.program import AppVersion, RegionCode
from staking.rewards import Outcome

DAYS_PER_RUN = 7
"""Accrual days until a user's run continues as new, unless the worker's settings say otherwise."""
DAYS_PER_RUN_MAX = 30
_USER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_user_id(text: str) -> str:
    """A user id as it came. Raises ValueError unless it is 1 to 64 of A–Z a–z 0–9 . _ -"""
    if not _USER_ID.fullmatch(text):
        shown = text if len(text) <= 70 else f"{text[:67]}…"
        raise ValueError(f"{shown!r} is not a user id: 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'")
    return text


UserId = Annotated[str, AfterValidator(check_user_id)]
Instant = Annotated[AwareDatetime, AfterValidator(in_utc)]
Reason = Annotated[str, Field(min_length=1, max_length=500)]


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


class Receipt(Model):
    """The answer to an activation that was accepted, and the same again to a repeat."""

    accepted: Literal[True] = True
    enrolment_id: str
    activated_at: Instant
    first_snapshot_at: Instant
    first_reward_from: Instant
    first_reward_until: Instant


class RefusalReason(Model):
    """One reason of rule 7."""

    code: str
    sentence: str


class Refusal(Model):
    """The answer to an activation that was not accepted: every reason of rule 7 that applies."""

    accepted: Literal[False] = False
    reasons: list[RefusalReason]


ActivationAnswer = Annotated[Receipt | Refusal, Field(discriminator="accepted")]


class End(Model):
    """How an enrolment ended. A repeat of the deactivation gets the same answer."""

    enrolment_id: str
    ended_at: Instant
    last_accrual_day: date | None
    """None if no day was ever accrued."""
    owed_days: int
    """Accrual days not yet credited when the end was recorded; they are still paid."""
    reason: str
    """The reason of a rule, of the user, or of an operator. An operator's reason is never shown to the user."""
    operator: str | None = None
    """The operator who ended it; None if it was the user or a rule, and in what older runs carried, which did
    not keep it."""
    tell: str | None = None
    """What the operator tells the user."""


class Enrolment(Model):
    """An enrolment with days still to be processed, as the loop and the ledger see it."""

    receipt: Receipt
    next_day: date
    """The next day to close: the activation day at first, then each accrual day."""
    last_accrual_day: date | None = None
    """None while the enrolment is open."""
    region: str | None = None
    """The region from which the user enrolled; None in what older runs carried, which did not keep it."""

    @property
    def activation_day(self) -> date:
        """Rule 1: Day 1, whose closing gives the first accrual day its opening."""
        return day_of(self.receipt.activated_at)

    @property
    def is_finished(self) -> bool:
        """Whether it has ended and nothing is owed any more."""
        return self.last_accrual_day is not None and (
            self.next_day > self.last_accrual_day or self.last_accrual_day <= self.activation_day
        )


class Act(Model):
    """Who acts as an operator, and why."""

    operator: Reason
    reason: Reason
    """For colleagues, never for the user."""
    tell: Reason | None = None
    """For the user."""


class Hold(Model):
    """An operator's hold: the user's loop stops before its next step until the hold is released."""

    held_at: Instant
    operator: str
    reason: str
    """For colleagues, never for the user."""
    tell: str | None = None
    """For the user."""


class SearchAttributeUse(StrEnum):
    """Which search attributes a run writes. They are never encrypted."""

    NONE = "none"
    """The server does not know the search attributes, and a workflow that writes one regardless stands still."""
    ALL = "all"
    WITHOUT_TERMS = "without_terms"
    """Histories are encrypted, so neither a region nor the words of a reason are written."""


class RunSettings(Model):
    """What a worker's settings decide for a user's runs. It is fixed when the first run starts, and then
    carried."""

    wake_offset: timedelta = timedelta()
    """How long after a boundary the loop wakes. It moves the wake, and never a number."""
    search_attributes: SearchAttributeUse = SearchAttributeUse.NONE
    steps_at_once: bool = False
    """Whether a day's steps are tried in the task that woke the loop; False in runs from the time before that
    existed."""
    days_per_run: int = 30
    """Accrual days until a run continues as new; 30 in runs that began before it was a setting."""


class Noted(Model):
    """What a user's runs have written as search attributes so far; None where nothing is set."""

    state: str | None = None
    region: str | None = None
    held: bool | None = None
    end_reason: str | None = None


class Recollection(Model):
    """What a run knows of its user when it starts, from the ledger or carried from the run before."""

    generation: int = 0
    """The number of this recall, counted by the ledger for each user; 0 in what runs carried before recalls
    were counted."""

    enrolments: list[Enrolment] = Field(default_factory=list[Enrolment])
    """The enrolments that are open or have owed days, oldest first."""
    last_end: End | None = None
    hold: Hold | None = None
    last_credited_day: date | None = None
    credited: dict[str, Units] = Field(default_factory=dict[str, Units])
    """Rewards credited so far by asset; corrections made since are in the ledger alone."""
    settings: RunSettings = Field(default_factory=RunSettings)
    noted: Noted | None = None
    """None if this is from the ledger, or from older runs, which did not keep it."""

    @property
    def first_unfinished(self) -> Enrolment | None:
        """The oldest enrolment that is open or has owed days."""
        return next((known for known in self.enrolments if not known.is_finished), None)

    @property
    def open_enrolment(self) -> Enrolment | None:
        """The enrolment that has not ended; a user has at most one."""
        return next((known for known in self.enrolments if known.last_accrual_day is None), None)

    def enrolment(self, enrolment_id: str) -> Enrolment:
        """The enrolment as it is now. Raises StopIteration if it is not here."""
        return next(known for known in self.enrolments if known.receipt.enrolment_id == enrolment_id)

    def with_enrolment(self, receipt: Receipt, region: str) -> "Recollection":
        """The same after an activation."""
        new = Enrolment(receipt=receipt, next_day=day_of(receipt.activated_at), region=region)
        return self.model_copy(update={"enrolments": [*self.enrolments, new]})

    def with_next_day(self, enrolment_id: str, day: date) -> "Recollection":
        """The same after the day before was processed."""
        return self._with_change(enrolment_id, next_day=day)

    def with_credit(self, rewards: "Rewards") -> "Recollection":
        """The same after a day was credited."""
        credited = dict(self.credited)
        for line in rewards.lines:
            if line.reward:
                credited[line.asset] = credited.get(line.asset, 0) + line.reward
        return self.model_copy(update={"credited": credited, "last_credited_day": rewards.day})

    def with_end(self, end: End, *, last_accrual_day: date) -> "Recollection":
        """The same after an enrolment ended. If it is an older enrolment that ended earlier than was known, the
        last end stays."""
        last_end = max(end, self.last_end or end, key=lambda known: known.ended_at)
        ended = self._with_change(end.enrolment_id, last_accrual_day=last_accrual_day)
        return ended.model_copy(update={"last_end": last_end})

    def without_finished(self) -> "Recollection":
        """The same without the finished enrolments."""
        return self.model_copy(
            update={"enrolments": [known for known in self.enrolments if not known.is_finished]}
        )

    def with_hold(self, hold: Hold | None) -> "Recollection":
        """The same after an operator held or released the user."""
        return self.model_copy(update={"hold": hold})

    def with_noted(self, noted: Noted) -> "Recollection":
        """The same after search attributes were written."""
        return self.model_copy(update={"noted": noted})

    def superseded_by(self, recalled: "Recollection") -> "Recollection":
        """What the ledger has recorded, in place of what the run knew. The wake stays at its time."""
        settings = recalled.settings.model_copy(update={"wake_offset": self.settings.wake_offset})
        return recalled.model_copy(update={"settings": settings, "noted": self.noted})

    def carried_on(self) -> "Recollection":
        """What the next run gets. It takes the days in the present way, also if this run took them in an older
        way."""
        if self.settings.steps_at_once:
            return self
        changed = {"steps_at_once": True, "days_per_run": DAYS_PER_RUN}
        return self.model_copy(update={"settings": self.settings.model_copy(update=changed)})

    def differs_for_the_loop(self, other: "Recollection") -> bool:
        """Whether the loop has something else to do with the other recollection."""

        def of(known: Recollection) -> object:
            return known.enrolments, known.hold, known.last_end, known.last_credited_day

        return of(self) != of(other)

    def with_search_attributes_of(self, recalled: "Recollection") -> "Recollection":
        """The same with which search attributes are to be written, and with the regions for them, from a new
        recall."""
        regions = {known.receipt.enrolment_id: known.region for known in recalled.enrolments}
        enrolments = [
            known.model_copy(update={"region": regions.get(known.receipt.enrolment_id, known.region)})
            for known in self.enrolments
        ]
        use = {"search_attributes": recalled.settings.search_attributes}
        return self.model_copy(update={"enrolments": enrolments, "settings": self.settings.model_copy(update=use)})

    def _with_change(self, enrolment_id: str, **changes: date) -> "Recollection":
        changed = [
            known.model_copy(update=changes) if known.receipt.enrolment_id == enrolment_id else known
            for known in self.enrolments
        ]
        return self.model_copy(update={"enrolments": changed})


class Blocked(Model):
    """A step that a retry cannot mend."""

    step: str
    day: date
    message: str


class LiveStatus(Model):
    """What only the workflow knows. Closed days, totals and holdings come from the ledger."""

    state: str
    """``sleeping``, ``processing``, ``waiting for pool <assets>``, ``blocked``, ``held`` or ``idle``."""
    enrolment_id: str | None
    day_in_progress: date | None
    """The day for whose end the loop waits, or that is being processed."""
    next_boundary: Instant | None
    """The first boundary still to come."""
    blocked: Blocked | None = None
    hold: Hold | None = None


class FencedRequest(Model):
    """A request to write, from a run that may have been superseded meanwhile.

    The ledger refuses it unless ``generation`` is the number of the user's last recall.
    """

    user_id: UserId
    generation: int = 0
    """The number of the recall on which the run acts; 0 from runs before recalls were counted."""


class EnrolRequest(FencedRequest):
    enrolment_id: str
    activation: Activation
    activated_at: Instant
    now: Instant


class EndRequest(FencedRequest):
    enrolment_id: str
    ended_at: Instant
    reason: str
    operator: str | None = None
    """The operator who ended it; None if it was the user or a rule."""
    tell: str | None = None
    """What the operator tells the user."""


class ActRequest(FencedRequest):
    """An operator holds a user, or releases one."""

    act_id: str
    act: Act
    now: Instant


class SnapshotRequest(FencedRequest):
    enrolment_id: str
    day: date
    now: Instant


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


class ComputeRequest(Model):
    user_id: UserId
    enrolment_id: str
    snapshot: Snapshot
    region: str | None = None
    """The region from which the user enrolled; None from older runs, which did not keep it."""


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


ComputeAnswer = Annotated[Rewards | EndsHere, Field(discriminator="kind")]


class CreditRequest(FencedRequest):
    enrolment_id: str
    rewards: Rewards
    now: Instant


class CreditReceipt(Model):
    """A day was credited, once."""

    kind: Literal["credited"] = "credited"
    day: date
    credited_at: Instant
    late: bool
    entry_id: int | None
    """The journal entry; None for a day whose rewards are all zero."""


class PoolShort(Model):
    """Rule 13: the reward pool cannot pay the whole day, so nothing of it was paid."""

    kind: Literal["pool_short"] = "pool_short"
    day: date
    assets: list[str]


CreditAnswer = Annotated[CreditReceipt | PoolShort, Field(discriminator="kind")]
