"""setup: what a Temporal server must know of us."""

from datetime import timedelta
from typing import Annotated

import typer
from temporalio.client import Client

from commands import bulk
from commands.enrolment import TimeoutOption
from commands.entrance import run, say
from commands.output import JsonOption, print_json
from staking.models import SearchAttributeUse
from workflows.client import SoftStakingClient
from workflows.connection import connect
from workflows.encryption import is_encrypted
from workflows.setup import Registered, register, usable_search_attributes
from workflows.visibility import outdated_users


def setup(
    running: Annotated[
        bool,
        typer.Option(
            "--running", help="Then make the workflows that run already write them; once their workers know them."
        ),
    ] = False,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Make the Temporal server know the search attributes by which `list` finds users. A repeat changes nothing.

    Once for every namespace, before its workers start: a worker looks once, and the users who activate on one that
    saw none are not found by what they are. `worker.py --dev` does it by itself. A namespace in Temporal Cloud
    takes search attributes only from its settings page, or from `tcld namespace search-attributes add`.

    Example: python starter.py setup
    """

    limit = timedelta(seconds=timeout)

    async def work() -> tuple[str, Registered, bulk.Outcome | None]:
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


async def _refreshed(client: Client, timeout: timedelta) -> bulk.Outcome:
    outdated = await outdated_users(client, is_encrypted=is_encrypted(client))
    return await bulk.for_each("refreshing", outdated, SoftStakingClient(client, timeout=timeout).refresh)


async def prepared_search_attributes(client: Client, *, registers: bool) -> SearchAttributeUse:
    """Which search attributes the runs that start on a worker write. If they write none, it says so. Raises
    ServiceError."""
    if registers:
        await register(client)
    use = await known_search_attributes(client)
    if use is SearchAttributeUse.NONE:
        say(
            "Search      the server does not know the search attributes: `list` will not find the users who "
            "activate now by what they are; run `starter.py setup`, then start the workers again"
        )
    return use


async def known_search_attributes(client: Client) -> SearchAttributeUse:
    """Which search attributes the runs that start on a worker write."""
    return await usable_search_attributes(client, is_encrypted=is_encrypted(client))
