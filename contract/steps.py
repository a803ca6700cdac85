"""The steps of the service: the name, request and answer of each activity, for both sides of Temporal."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from contract.acts import Hold
from contract.answers import ActivationAnswer, ComputeAnswer, CreditAnswer, End, SnapshotAnswer
from contract.recollection import Recollection
from contract.requests import ActRequest, ComputeRequest, CreditRequest, EndRequest, EnrolRequest, SnapshotRequest

Request = TypeVar("Request")
Answer = TypeVar("Answer")

TASK_QUEUE = "soft-staking"
WORKFLOW_TYPE = "SoftStakingWorkflow"
SUPERSEDED = "Superseded"
"""The type of the refusal of a step whose run was superseded. The run recalls, and goes on from there."""
LEDGER_DIFFERS = frozenset({"ContentDiffers", "LedgerRestored", "NotEnrolled", "OutOfOrder"})
"""The types of the refusals that mean that the ledger has another state than the run recalled. Somebody must
look first, since what is missing may have to be sent again. A retry then begins with a recall."""
STARTED_BY = "started_by"
"""Memo of a run: the id of the update that started it."""


_WORKFLOW_ID_PREFIX = "soft-staking/"


def workflow_id(user_id: str) -> str:
    """One execution per user at a time: it belongs to the user, not to one enrolment."""
    return f"{_WORKFLOW_ID_PREFIX}{user_id}"


def user_of(workflow_id: str) -> str:
    """The user to whom a workflow's id belongs."""
    return workflow_id.removeprefix(_WORKFLOW_ID_PREFIX)


@dataclass(frozen=True)
class Step(Generic[Request, Answer]):
    """An activity by name, and what goes in and comes out."""

    name: str
    answer: Any
    """A type hint for the converter. ``type[Answer]`` cannot express a union of models."""


RECALL: Step[str, Recollection] = Step("recall", Recollection)
ENROL: Step[EnrolRequest, ActivationAnswer] = Step("enrol", ActivationAnswer)
SNAPSHOT: Step[SnapshotRequest, SnapshotAnswer] = Step("snapshot", SnapshotAnswer)
COMPUTE: Step[ComputeRequest, ComputeAnswer] = Step("compute", ComputeAnswer)
CREDIT: Step[CreditRequest, CreditAnswer] = Step("credit", CreditAnswer)
END_ENROLMENT: Step[EndRequest, End] = Step("end_enrolment", End)
HOLD: Step[ActRequest, Hold] = Step("hold", Hold)
RELEASE: Step[ActRequest, Hold | None] = Step("release", Hold | None)
