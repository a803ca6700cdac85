"""The steps of the service: the name, request and answer of each activity, for both sides of Temporal."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from staking.models import (
    ActivationAnswer,
    ActRequest,
    ComputeAnswer,
    ComputeRequest,
    CreditAnswer,
    CreditRequest,
    End,
    EndRequest,
    EnrolRequest,
    Hold,
    Recollection,
    Snapshot,
    SnapshotRequest,
)

Request = TypeVar("Request")
Answer = TypeVar("Answer")

TASK_QUEUE = "soft-staking"
WORKFLOW_TYPE = "SoftStakingWorkflow"
SUPERSEDED = "Superseded"
"""The type of the refusal that a step gets whose run was superseded: the run recalls, and goes on from there."""
FOUND_ELSEWHERE = frozenset({"ContentDiffers", "LedgerRestored", "NotEnrolled", "OutOfOrder"})
"""The types of the refusals that say that the ledger does not stand where the run believes. Somebody must look
first, since what is missing may have to be sent again; a retry then begins by recalling."""
STARTED_BY = "started_by"
"""Memo of a run: the id of the update that started it."""


_WORKFLOW_ID_PREFIX = "soft-staking/"


def workflow_id(user_id: str) -> str:
    """One execution per user at a time: it belongs to the user, not to one enrolment."""
    return f"{_WORKFLOW_ID_PREFIX}{user_id}"


def user_of(workflow_id: str) -> str:
    """The user of a workflow's id."""
    return workflow_id.removeprefix(_WORKFLOW_ID_PREFIX)


@dataclass(frozen=True)
class Step(Generic[Request, Answer]):
    """An activity by name, and what goes in and comes out."""

    name: str
    answer: Any
    """A type hint for the converter; a union of models is none that ``type[Answer]`` can express."""


RECALL: Step[str, Recollection] = Step("recall", Recollection)
ENROL: Step[EnrolRequest, ActivationAnswer] = Step("enrol", ActivationAnswer)
SNAPSHOT: Step[SnapshotRequest, Snapshot] = Step("snapshot", Snapshot)
COMPUTE: Step[ComputeRequest, ComputeAnswer] = Step("compute", ComputeAnswer)
CREDIT: Step[CreditRequest, CreditAnswer] = Step("credit", CreditAnswer)
END_ENROLMENT: Step[EndRequest, End] = Step("end_enrolment", End)
HOLD: Step[ActRequest, Hold] = Step("hold", Hold)
RELEASE: Step[ActRequest, Hold | None] = Step("release", Hold | None)
