"""The rewards of one user's day, from its snapshot and the terms in force on it (rules 3, 4, 5, 7 and 12)."""

from contract.requests import ComputeRequest
from ledger.database.program_memory import ProgramVersion
from ledger.errors import NotEnrolled
from staking.day import Terms, rewards_of
from staking.models import EndsHere, Rewards


def computed(request: ComputeRequest, in_force: ProgramVersion, region: str | None) -> Rewards | EndsHere:
    """The day's reward lines, or that the region is restricted on it. Nothing is written.

    ``region`` is the one that the user enrolled from. Raises NotEnrolled if it is None: then the enrolment is not
    recorded.
    """
    if region is None:
        raise NotEnrolled(f"user {request.user_id} has no enrolment {request.enrolment_id}")
    return rewards_of(request.snapshot, Terms(in_force.version, in_force.program, region))
