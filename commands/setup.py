"""setup: what a Temporal server must know of us."""

from datetime import timedelta

from temporalio.client import Client

from commands.entrance import run, say
from commands.output import JsonOption, print_json
from settings import Settings
from staking.models import SearchAttributeUse
from workflows.connection import connect
from workflows.setup import Registered, register, usable_search_attributes


def setup(as_json: JsonOption = False) -> None:
    """Make the Temporal server know the search attributes by which `list` finds users. A repeat changes nothing.

    Once for every namespace, before its workers start: a worker looks once, and the users who activate on one that
    saw none are not found by what they are. `worker.py --dev` does it by itself. A namespace in Temporal Cloud
    takes search attributes only from its settings page, or from `tcld namespace search-attributes add`.
    """

    async def work() -> tuple[str, Registered]:
        client = await connect(timeout=timedelta(seconds=10))
        return client.namespace, await register(client)

    namespace, found = run(work())
    if as_json:
        print_json({"namespace": namespace, "added": found.added, "known": found.known})
        return
    if found.known:
        print(f"{namespace} knows {', '.join(found.known)}.")
    if found.added:
        print(f"{namespace} was taught {', '.join(found.added)}. Workers that run already must be started again.")


async def prepared_search_attributes(client: Client, settings: Settings, *, registers: bool) -> SearchAttributeUse:
    """What the runs that start on a worker write; says so where that is nothing. Raises ServiceError."""
    if registers:
        await register(client)
    use = await known_search_attributes(client, settings)
    if use is SearchAttributeUse.NONE:
        say(
            "Search      the server does not know the search attributes: `list` will not find the users who "
            "activate now by what they are; run `starter.py setup`, then start the workers again"
        )
    return use


async def known_search_attributes(client: Client, settings: Settings) -> SearchAttributeUse:
    """What the runs that start on a worker write."""
    return await usable_search_attributes(client, is_encrypted=_histories_are_encrypted(settings))


def _histories_are_encrypted(settings: Settings) -> bool:
    """Payloads are; search attributes never. Here the encryption of payloads is to be asked whether it is on."""
    del settings
    return False
