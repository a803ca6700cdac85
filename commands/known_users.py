"""Tests whether a user exists, so that requests with a mistyped id are refused."""

from collections.abc import Sequence

from commands.entrance import the_ledger
from ledger.database.engine import Ledger
from ledger.reading.statements import known_users
from running.process import CommandFailed
from temporal.client import SoftStakingClient


async def refuse_strangers(client: SoftStakingClient, users: Sequence[str]) -> None:
    """Raises CommandFailed, with a sentence for each user who is neither in Temporal nor in the ledger."""
    # Temporal is asked first. So a user whose loop runs can be held from a machine that cannot reach the ledger.
    without_workflow = [user for user in users if not await client.has_workflow(user)]
    if without_workflow:
        async with the_ledger() as ledger:
            await _refuse(ledger, without_workflow, "neither Temporal nor the ledger {where} knows a user {user}")


async def refuse_stranger_to_ledger(ledger: Ledger, user: str) -> None:
    """Raises CommandFailed for a user of whom the ledger has nothing: no movement, no enrolment and no act."""
    await _refuse(ledger, [user], "the ledger {where} knows no user {user}")


async def _refuse(ledger: Ledger, users: Sequence[str], sentence: str) -> None:
    async with ledger.read() as connection:
        known = await known_users(connection, users)
    strangers = [user for user in users if user not in known]
    if strangers:
        raise CommandFailed(
            *(f"{sentence.format(where=ledger.where, user=user)}: is the id mistyped?" for user in strangers)
        )
