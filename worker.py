"""The worker: runs the workflows and their steps; with ``--dev`` a whole installation."""

if __name__ == "__main__":
    from commands.starting import begin

    begin()

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from temporalio.common import WorkerDeploymentVersion

from commands import entrance
from commands.arguments import MetricsOption, listen_address
from commands.program import read_program
from running.event_loop import new_event_loop
from running.installation import Installation, work_at_a_place
from running.installation import work as work_until_stopped
from running.options import WorkerOptions, deployment_version
from running.process import run
from settings import DEFAULT_PORT, DEFAULT_UI_PORT, Settings
from telemetry.address import Address
from telemetry.logs import start_logging

PROCESSES_MAX = 64
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

DevOption = Annotated[
    bool,
    typer.Option("--dev", help="Also run an embedded Temporal server with its web UI, kept in the data folder."),
]
UiPortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port of the web UI; with --dev.")]
ProgramOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.toml", help="Apply this program if the ledger has none yet."),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        help=f"Port of the pages; with --dev. {DEFAULT_PORT}, or a free one if that is taken.",
    ),
]
SamplesOption = Annotated[
    bool, typer.Option("--samples", help="Offer sample users at every stage on the pages; with --dev.")
]
HealthOption = Annotated[
    Address | None,
    typer.Option(
        parser=listen_address,
        metavar="HOST:PORT",
        help="Answer /livez and /readyz over HTTP here, for all processes.",
    ),
]
ProcessesOption = Annotated[
    int,
    typer.Option(
        min=1,
        max=PROCESSES_MAX,
        help="Worker processes; one that ends is replaced. Each keeps about one core busy, so this pays off "
        "up to the number of cores, and with a ledger on PostgreSQL: on SQLite they take turns to write.",
    ),
]
CachedWorkflowsOption = Annotated[
    int,
    typer.Option(
        min=0,
        help="Users whose workflows a process keeps in memory, at 0.17 MB each; at least twice as many as it "
        "carries on at the same time.",
    ),
]
WorkflowTasksOption = Annotated[
    int, typer.Option(min=2, help="Workflows that a process carries on at the same time.")
]
ActivitiesOption = Annotated[int, typer.Option(min=1, help="Steps that a process runs at the same time.")]
PollsOption = Annotated[
    int,
    typer.Option(min=2, help="Requests for work of each kind that a process has open; more if Temporal is far."),
]
DeploymentOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the deployment whose versions Temporal keeps apart; with --build-id. Work comes "
        "once `temporal worker deployment set-current-version` names this version.",
    ),
]
BuildIdOption = Annotated[
    str | None, typer.Option(metavar="ID", help="The version of this code; with --deployment.")
]
PlaceOption = Annotated[int | None, typer.Option(hidden=True)]


@app.command()
def work(
    dev: DevOption = False,
    ui_port: UiPortOption = DEFAULT_UI_PORT,
    program: ProgramOption = None,
    port: PortOption = None,
    samples: SamplesOption = False,
    health: HealthOption = None,
    metrics: MetricsOption = None,
    processes: ProcessesOption = 1,
    max_cached_workflows: CachedWorkflowsOption = WorkerOptions.max_cached_workflows,
    max_concurrent_workflow_tasks: WorkflowTasksOption = WorkerOptions.max_concurrent_workflow_tasks,
    max_concurrent_activities: ActivitiesOption = WorkerOptions.max_concurrent_activities,
    max_polls: PollsOption = WorkerOptions.max_polls,
    deployment: DeploymentOption = None,
    build_id: BuildIdOption = None,
    place: PlaceOption = None,
) -> None:
    """Run a worker until it is stopped (Ctrl-C or SIGTERM); running steps finish first.

    The Temporal server is named by TEMPORAL_ADDRESS (and the other TEMPORAL_* variables, or temporal.toml), the
    ledger by SOFT_STAKING_DATABASE_URL. With --dev both are here: one command is a whole installation, kept in
    SOFT_STAKING_DATA_DIR (.soft-staking), and starting it again goes on where it was. The pages are served too,
    only to this machine, and a visitor chooses whose account to see.
    """
    if samples and not dev:
        raise typer.BadParameter("--samples goes with --dev")
    start_logging(Settings())
    options = WorkerOptions(
        max_cached_workflows=max_cached_workflows,
        max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
        max_concurrent_activities=max_concurrent_activities,
        max_polls=max_polls,
        version=_version(deployment, build_id),
    )
    if place is not None:
        of_place = metrics and metrics.of_process(place)
        run(work_at_a_place(options), metrics=of_place, new_event_loop=new_event_loop)
        return
    if metrics and processes > 1:
        metrics.of_process(processes)
    asked = Installation(
        worker=options,
        processes=processes,
        health=health,
        metrics=metrics,
        dev=dev,
        ui_port=ui_port,
        program=program and read_program(program),
        port=port,
        samples=samples,
    )
    run(work_until_stopped(asked), metrics=metrics, new_event_loop=new_event_loop)


def _version(deployment: str | None, build_id: str | None) -> WorkerDeploymentVersion | None:
    if deployment is None and build_id is None:
        return None
    if deployment is None or build_id is None:
        raise typer.BadParameter("--deployment and --build-id go together")
    try:
        return deployment_version(deployment, build_id)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def main() -> NoReturn:
    """Runs the worker and ends the process with its exit code."""
    entrance.main(app)


if __name__ == "__main__":
    main()
