"""What steps are asked. Instants are UTC, days are UTC days."""

from datetime import date

from contract.acts import Act
from staking.models import Activation, Instant, Model, Rewards, Snapshot, UserId


class FencedRequest(Model):
    """A request to write, from a run that may have been superseded meanwhile.

    The ledger refuses it where ``generation`` is older than the number of the user's last recall. The steps of a
    day are also refused where it is newer, which means that the ledger was restored from a backup.
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
    """The operator's text for the user."""


class ActRequest(FencedRequest):
    """An operator holds a user, or releases one."""

    act_id: str
    act: Act
    now: Instant


class SnapshotRequest(FencedRequest):
    enrolment_id: str
    day: date
    now: Instant


class ComputeRequest(Model):
    user_id: UserId
    enrolment_id: str
    snapshot: Snapshot
    region: str | None = None
    """The region from which the user enrolled; None from older runs, which did not keep it."""


class CreditRequest(FencedRequest):
    enrolment_id: str
    rewards: Rewards
    now: Instant
