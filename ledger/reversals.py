"""Which entries were reversed, in SQL: the reversal that belongs to an entry."""

from sqlalchemy import ColumnElement

from ledger.database.schema import entries

REVERSALS = entries.alias("reversals")


def is_reversal_of(entry_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Joins the reversal of an entry, of which there is one at most."""
    return REVERSALS.c.reverses == entry_id
