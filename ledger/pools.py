"""The reward pools: funding them and reading what is in them (rule 13)."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.acts import check_words, write_act
from ledger.engine import Ledger, run_again_if_it_gave_way
from ledger.errors import MisspeltAsset, NoProgram, UnknownAsset
from ledger.journal import OUTSIDE, POOL, Asked, Leg, NewEntry, find_repeat, post
from ledger.programs import all_versions
from ledger.schema import IS_OF_THE_SYSTEM, accounts
from ledger.spelling import misspelt

_FUNDING = "pool_funding"


@run_again_if_it_gave_way
async def fund_pool(
    ledger: Ledger,
    asset: str,
    amount: int,
    *,
    operator: str,
    reason: str | None = None,
    now: datetime,
    idempotency_key: str | None = None,
) -> int:
    """Moves an amount, in units above zero, from outside into an asset's pool; answers the pool's new balance.

    A repeat of a key changes nothing, whoever asks and why. Raises UnknownAsset for one that no program version
    has, NoProgram, ContentDiffers for a repeat that says anything else, AccountFull, or ValueError for words that
    are no text.
    """
    if amount <= 0:
        raise ValueError(f"a pool is funded with an amount above zero, not {amount}")
    check_words(operator, reason)
    async with ledger.write() as connection:
        known = {name for version in await all_versions(connection) for name in version.program.assets}
        if not known:
            raise NoProgram("no program has been applied; apply one with: starter.py program apply program.toml")
        if asset not in known:
            if sentence := misspelt(asset, known):
                raise MisspeltAsset(sentence)
            raise UnknownAsset(f"{asset} is not an asset of the program, which has {', '.join(sorted(known))}")
        repeat = idempotency_key and await find_repeat(
            connection, idempotency_key, Asked(_FUNDING, None, {asset: amount})
        )
        if not repeat:
            legs = [Leg(POOL, asset, amount), Leg(OUTSIDE, asset, -amount)]
            entry_id = await post(
                connection,
                NewEntry(
                    kind=_FUNDING,
                    legs=legs,
                    effective_at=now,
                    recorded_at=now,
                    idempotency_key=idempotency_key,
                    operator=operator,
                    reason=reason,
                ),
            )
            await write_act(
                connection,
                "fund",
                f"fund/{entry_id}",
                operator=operator,
                reason=reason,
                recorded_at=now,
                subject=f"pool {asset}, entry {entry_id}",
            )
        return (await pool_balances(connection)).get(asset, 0)


async def pool_balances(connection: AsyncConnection) -> dict[str, int]:
    """Each pool's balance in units, by asset; several pool accounts of an asset added up."""
    rows = await connection.execute(
        select(accounts.c.asset, accounts.c.balance)
        .where(IS_OF_THE_SYSTEM, accounts.c.kind == POOL)
        .order_by(accounts.c.asset)
    )
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.asset] = totals.get(row.asset, 0) + row.balance
    return totals
