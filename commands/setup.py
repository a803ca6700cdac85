"""setup: make a Temporal server know the search attributes that our workflows write."""

from datetime import timedelta
from typing import Annotated

import typer
from temporalio.client import Client

from commands import bulk
from commands.arguments import TimeoutOption
from commands.output import JsonOption, print_json
from running.process import run
from temporal.client import SoftStakingClient
from temporal.connection import connect
from temporal.encryption import is_encrypted
from temporal.setup import Registered, register
from temporal.visibility import outdated_users


def setup(
    running: Annotated[
        bool,
        typer.Option(
            "--running",
            help="Then make the running workflows write them. Start their workers again before that.",
        ),
    ] = False,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Make the Temporal server know the search attributes by which `list` finds users. A repeat changes nothing.

    Run it once for every namespace, before its workers start. A worker looks for the search attributes once. If it
    finds none, `list` does not find by state or region the users who activate on that worker. `worker.py --dev`
    does all this by itself. A namespace in Temporal Cloud takes search attributes only from its settings page, or
    from `tcld namespace search-attributes add`.

    Example: python starter.py setup
    """

    limit = timedelta(seconds=timeout)

    async def work() -> tuple[str, Registered, bulk.Results | None]:
        client = await connect(timeout=limit)
        registered = await register(client)
        return client.namespace, registered, await _refreshed(client, limit) if running else None

    namespace, found, outcome = run(work())
    answer = {"namespace": namespace, "added": found.added, "known": found.known}
    sentences = [f"{namespace} knows {', '.join(found.known)}."] if found.known else []
    if found.added:
        sentences.append(
            f"{namespace} was taught {', '.join(found.added)}: start those workers again that missed them at "
            "their start."
        )
    if outcome is not None:
        sentences.append(f"{bulk.counted(outcome.done)} with a running workflow can be found now.")
        bulk.report(outcome, "\n".join(sentences), answer, as_json=as_json)
    elif as_json:
        print_json(answer)
    else:
        print("\n".join(sentences))


async def _refreshed(client: Client, timeout: timedelta) -> bulk.Results:
    outdated = await outdated_users(client, is_encrypted=is_encrypted(client))
    return await bulk.for_each("refreshing", outdated, SoftStakingClient(client, timeout=timeout).refresh)
