"""What one worker process takes on at the same time, and as which version of the code."""

import re
from dataclasses import dataclass

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import PollerBehaviorSimpleMaximum, WorkerDeploymentConfig

_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_BUILD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class WorkerOptions:
    """The limits of each worker process. The defaults come from measurements; see docs/running-workers.md."""

    max_cached_workflows: int = 1000
    """Users whose workflows stay in memory. A good day is one task, replayed if its workflow is not there.
    There is always room for workflows that are executing a task; see ``workflows_in_memory``."""
    max_concurrent_workflow_tasks: int = 100
    """Workflows that go on at the same time. A day's steps run in one task, which mostly waits for the ledger. The
    ledger gathers users for a moment while many come, and writes 50 in one transaction."""
    max_concurrent_activities: int = 200
    """Steps that run at the same time: for each of the two kinds that write, 50 in a batch that is being written,
    and 50 in the next. They wait in the ledger's queue and cost little there; fewer would leave batches half
    empty."""
    max_polls: int = 5
    """Requests for work that are open at the same time, of each kind. Each is answered within a round trip to
    Temporal. So a process can take this number divided by the time of a round trip: 250 tasks a second at 20 ms,
    which is as much as it can do."""
    version: WorkerDeploymentVersion | None = None
    """None if the worker is unversioned: then any workflow's next task may come to it."""

    @property
    def workflows_in_memory(self) -> int:
        """For the SDK's worker.

        If there is no room for a workflow's task, the SDK removes the workflow that was used least recently, even
        in the middle of a step. Then its task is lost, or the two wait for each other. So there is room for all
        that execute tasks at the same time, and for as many again.
        """
        return max(self.max_cached_workflows, 2 * self.max_concurrent_workflow_tasks)

    @property
    def poller_behavior(self) -> PollerBehaviorSimpleMaximum:
        """A fixed number of pollers. Pollers that adapt their number were slower here, and made the batches of
        steps smaller."""
        return PollerBehaviorSimpleMaximum(self.max_polls)

    @property
    def deployment_config(self) -> WorkerDeploymentConfig | None:
        """For the SDK's worker.

        A user's workflow lives for years, so it must not stay with the version that it began on (pinned): its next
        task goes to whatever version is current then (auto-upgrade, decision 0010).
        """
        if self.version is None:
            return None
        return WorkerDeploymentConfig(
            version=self.version,
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
        )


def deployment_version(deployment: str, build_id: str) -> WorkerDeploymentVersion:
    """The version of that name. Raises ValueError for a name that Temporal does not accept: each poll would be
    refused, and the SDK would poll again for ever without a message."""
    for name, pattern in ((deployment, _DEPLOYMENT), (build_id, _BUILD_ID)):
        if not pattern.fullmatch(name):
            raise ValueError(
                f"{name[:80]!r} is no name: use up to 100 letters, digits, - and _, in a build id also ."
            )
    return WorkerDeploymentVersion(deployment_name=deployment, build_id=build_id)
