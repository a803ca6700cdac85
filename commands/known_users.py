"""Whether a user exists at all: what is asked of a mistyped id is refused."""

from collections.abc import Sequence

from commands.entrance import CommandFailed, the_ledger
from ledger.engine import Ledger
from ledger.statements import known_users
from workflows.client import SoftStakingClient


async def refuse_strangers(client: SoftStakingClient, users: Sequence[str]) -> None:
    """Raises CommandFailed, with a sentence for each user whom neither Temporal nor the ledger knows."""
    # Temporal first: so a user whose loop runs can be stopped from where the ledger is not at hand.
    without_workflow = [user for user in users if not await client.has_workflow(user)]
    if without_workflow:
        async with the_ledger() as ledger:
            await _refuse(ledger, without_workflow, "neither Temporal nor the ledger {where} knows a user {user}")


async def refuse_stranger_to_ledger(ledger: Ledger, user: str) -> None:
    """Raises CommandFailed for a user whom the ledger does not know: no movement, enrolment or act."""
    await _refuse(ledger, [user], "the ledger {where} knows no user {user}")


async def _refuse(ledger: Ledger, users: Sequence[str], sentence: str) -> None:
    async with ledger.read() as connection:
        known = await known_users(connection, users)
    strangers = [user for user in users if user not in known]
    if strangers:
        raise CommandFailed(
            *(f"{sentence.format(where=ledger.where, user=user)}: is the id mistyped?" for user in strangers)
        )
