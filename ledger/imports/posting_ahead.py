"""Postings that are written before their users are locked. The locks are taken only at the end of the transaction.

So two transactions can write for one user at the same time, and others wait for the user's lock only for a moment.
This is for PostgreSQL only, since SQLite has one writer. The caller decides again, under the locks, whether what
was written is right. If it gives the transaction up, nobody ever sees anything of it.
"""

import asyncio
from collections.abc import Sequence
from functools import cache

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.bulks import BulkMovement, InCommon, Sides, entry_rows
from ledger.database.rows import Stored, given_literals, literals_of, texts_of, type_of
from ledger.database.schema import entries

_BOTH_SIDES = ("spot_id", "outside_id", "amount")


async def post_ahead(
    connection: AsyncConnection, new: Sequence[BulkMovement], in_common: InCommon, sides: Sides
) -> None:
    """Writes the entries and the postings of movements whose accounts exist. ``journal.settle`` must follow,
    under the users' locks."""
    names, same, given = await asyncio.to_thread(_literals, new, in_common, sides)
    await connection.exec_driver_sql(_insert(names, same), given)


def _literals(
    new: Sequence[BulkMovement], in_common: InCommon, sides: Sides
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Stored]]:
    names, rows = entry_rows(new, in_common)
    whole = [
        (*row, *sides[movement.user_id, movement.asset], movement.amount)
        for row, movement in zip(rows, new, strict=True)
    ]
    return names, *literals_of(texts_of(entries), (*names, *_BOTH_SIDES), whole)


@cache
def _insert(names: tuple[str, ...], same: tuple[str, ...]) -> str:
    types = [(name, type_of(entries.c[name])) for name in names] + [(name, "bigint") for name in _BOTH_SIDES]
    given, values = given_literals(types, same)
    of_entries = ", ".join(("entry_id", *names))
    return (
        "WITH numbered AS MATERIALIZED ("
        "SELECT nextval((SELECT pg_get_serial_sequence('entries', 'entry_id')::regclass)) AS entry_id, "
        f"{values} FROM {given} ORDER BY number), "
        f"made AS (INSERT INTO entries ({of_entries}) SELECT {of_entries} FROM numbered) "
        "INSERT INTO postings (entry_id, account_id, effective_at, amount) "
        "SELECT entry_id, side.account_id, effective_at, side.amount FROM numbered "
        "CROSS JOIN LATERAL (VALUES (spot_id, numbered.amount), (outside_id, -numbered.amount)) "
        "AS side(account_id, amount)"
    )
