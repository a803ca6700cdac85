"""Names that other systems know must not change."""

from contract import steps
from contract.steps import Step


def test_a_workflow_is_found_by_its_user():
    assert steps.workflow_id("1001") == "soft-staking/1001"
    assert steps.user_of("soft-staking/1001") == "1001"
    assert (steps.TASK_QUEUE, steps.WORKFLOW_TYPE) == ("soft-staking", "SoftStakingWorkflow")


def test_every_step_has_a_name_of_its_own():
    names = [step.name for step in vars(steps).values() if isinstance(step, Step)]
    assert {"enrol", "snapshot", "compute", "credit", "end_enrolment"} <= set(names)
    assert len(names) == len(set(names))
