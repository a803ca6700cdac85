"""The recall: what a run learns of its user from the ledger. Recalls are counted, so that a run that recalled
earlier cannot write any more."""

from sqlalchemy import update

from contract.recollection import Recollection
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import users
from ledger.locking import lock_user
from ledger.reading.recollection import recollection


@run_again_if_it_gave_way
async def recall(ledger: Ledger, user_id: str) -> Recollection:
    """What a run must know of its user: what is unfinished, the hold, and what was credited so far.

    Each recall is counted. From then on, runs that recalled earlier may not write for the user any more, since a
    step of a terminated run may still be on its way. A repeat answers the same, with a new number.
    """
    async with ledger.write() as connection:
        user = await lock_user(connection, user_id)
        generation = user.generation + 1
        await connection.execute(update(users).where(users.c.user_id == user_id).values(generation=generation))
        recalled = await recollection(connection, user_id)
        return recalled.model_copy(update={"generation": generation})
