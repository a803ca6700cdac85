"""What one worker process takes on at once, and as which version of the code."""

from dataclasses import dataclass

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig


@dataclass(frozen=True)
class WorkerOptions:
    """Of each worker process."""

    max_cached_workflows: int = 1000
    """Users whose workflows stay in memory."""
    max_concurrent_workflow_tasks: int = 100
    """Workflows that go on at once."""
    max_concurrent_activities: int = 100
    """Steps that run at once."""
    version: WorkerDeploymentVersion | None = None
    """None: unversioned, any workflow's next task may come to this worker."""

    @property
    def deployment_config(self) -> WorkerDeploymentConfig | None:
        """For the SDK's worker.

        A user's workflow lives for years, so it must not stay with the version that it began on (pinned): its next
        task goes to whatever version is current then (auto-upgrade).
        """
        if self.version is None:
            return None
        return WorkerDeploymentConfig(
            version=self.version,
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
        )
