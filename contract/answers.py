"""What steps and updates answer. Instants are UTC, days are UTC days."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from staking.models import (
    CreditReceipt,
    EndsHere,
    Instant,
    Model,
    PoolShort,
    RefusalReason,
    Rewards,
    Snapshot,
    SourceLate,
)

ENDED_BY_OPERATOR = "ended by an operator"
"""What is shown instead of the operator's reason, which is for colleagues only."""


class Receipt(Model):
    """The answer to an activation that was accepted, and the same again to a repeat."""

    accepted: Literal[True] = True
    enrolment_id: str
    activated_at: Instant
    first_snapshot_at: Instant
    first_reward_from: Instant
    first_reward_until: Instant


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
    """The operator's text for the user."""


SnapshotAnswer = Snapshot | SourceLate
"""This union has no discriminator, since snapshots in old histories have none."""
ComputeAnswer = Annotated[Rewards | EndsHere, Field(discriminator="kind")]
CreditAnswer = Annotated[CreditReceipt | PoolShort, Field(discriminator="kind")]
