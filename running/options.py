"""What one worker process takes on at once, and as which version of the code."""

import re
from dataclasses import dataclass

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import PollerBehaviorSimpleMaximum, WorkerDeploymentConfig

_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_BUILD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class WorkerOptions:
    """Of each worker process. The numbers behind the defaults are measured; docs/running-workers.md has them."""

    max_cached_workflows: int = 1000
    """Users whose workflows stay in memory. A good day is one task, replayed if its workflow is not there. There
    is always room for those who are at work; see ``workflows_in_memory``."""
    max_concurrent_workflow_tasks: int = 100
    """Workflows that go on at once. A day's steps run in its task, which mostly waits for the ledger: that gathers
    users for a moment while many come, and writes 50 in one transaction."""
    max_concurrent_activities: int = 200
    """Steps that run at once: for each of the two kinds that write, 50 in a batch being written, 50 in the next.
    They wait in the ledger's queue and cost little there; fewer would leave batches half empty."""
    max_polls: int = 5
    """Requests for work that are open at once, of each kind. One is answered in a round trip to Temporal, so this
    divided by the round trip is what a process can take a second: 250 tasks at 20 ms, as much as it can do."""
    version: WorkerDeploymentVersion | None = None
    """None: unversioned, any workflow's next task may come to this worker."""

    @property
    def workflows_in_memory(self) -> int:
        """For the SDK's worker.

        Where there is no room for a workflow's task, the SDK pushes out the one that was used least recently, in
        the middle of a step too: then its task is lost, or both wait for one another. So there is room for all
        that are at work at once, and for as many again.
        """
        return max(self.max_cached_workflows, 2 * self.max_concurrent_workflow_tasks)

    @property
    def poller_behavior(self) -> PollerBehaviorSimpleMaximum:
        """A fixed number: pollers that scale by themselves were slower here, and the batches of steps smaller."""
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
    """The version of that name. Raises ValueError for one that Temporal does not take: each poll would be refused,
    and the SDK would ask again for ever and say nothing."""
    for name, pattern in ((deployment, _DEPLOYMENT), (build_id, _BUILD_ID)):
        if not pattern.fullmatch(name):
            raise ValueError(
                f"{name[:80]!r} is no name: use up to 100 letters, digits, - and _, in a build id also ."
            )
    return WorkerDeploymentVersion(deployment_name=deployment, build_id=build_id)
