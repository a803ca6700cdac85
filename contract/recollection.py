"""What a user's run remembers: its enrolments and settings, and what it has shown. Days are UTC days."""

from datetime import date, timedelta
from enum import StrEnum

from pydantic import Field

from contract.acts import Hold
from contract.answers import End, Receipt
from staking.days import day_of
from staking.models import Model, Rewards
from staking.money import Units

DAYS_PER_RUN = 7
"""Accrual days until a user's run continues as new, unless the worker's settings say otherwise."""
DAYS_PER_RUN_MAX = 30


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


class SearchAttributeUse(StrEnum):
    """Which search attributes a run writes. They are never encrypted."""

    NONE = "none"
    """The server does not know the search attributes, and a workflow that writes one regardless stands still."""
    ALL = "all"
    WITHOUT_TERMS = "without_terms"
    """Histories are encrypted, so neither a region nor the words of a reason are written."""


class RunSettings(Model):
    """What a worker's settings decide for a user's runs.

    A run carries it to the next. A recall brings all of it up to date except the wake offset, which stays as it
    was when the first run started.
    """

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
        return next((enrolment for enrolment in self.enrolments if not enrolment.is_finished), None)

    @property
    def open_enrolment(self) -> Enrolment | None:
        """The enrolment that has not ended; a user has at most one."""
        return next((enrolment for enrolment in self.enrolments if enrolment.last_accrual_day is None), None)

    def enrolment(self, enrolment_id: str) -> Enrolment:
        """The enrolment as it is now. Raises StopIteration if it is not here."""
        return next(enrolment for enrolment in self.enrolments if enrolment.receipt.enrolment_id == enrolment_id)

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
        last_end = max(end, self.last_end or end, key=lambda either: either.ended_at)
        ended = self._with_change(end.enrolment_id, last_accrual_day=last_accrual_day)
        return ended.model_copy(update={"last_end": last_end})

    def without_finished(self) -> "Recollection":
        """The same without the finished enrolments."""
        return self.model_copy(
            update={"enrolments": [enrolment for enrolment in self.enrolments if not enrolment.is_finished]}
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

        def of(user: Recollection) -> object:
            return user.enrolments, user.hold, user.last_end, user.last_credited_day

        return of(self) != of(other)

    def with_search_attributes_of(self, recalled: "Recollection") -> "Recollection":
        """The same with which search attributes are to be written, and with the regions for them, from a new
        recall."""
        regions = {enrolment.receipt.enrolment_id: enrolment.region for enrolment in recalled.enrolments}
        enrolments = [
            enrolment.model_copy(update={"region": regions.get(enrolment.receipt.enrolment_id, enrolment.region)})
            for enrolment in self.enrolments
        ]
        use = {"search_attributes": recalled.settings.search_attributes}
        return self.model_copy(update={"enrolments": enrolments, "settings": self.settings.model_copy(update=use)})

    def _with_change(self, enrolment_id: str, **changes: date) -> "Recollection":
        changed = [
            enrolment.model_copy(update=changes) if enrolment.receipt.enrolment_id == enrolment_id else enrolment
            for enrolment in self.enrolments
        ]
        return self.model_copy(update={"enrolments": changed})
