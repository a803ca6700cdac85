"""Sums of amounts that may exceed 64 bits on the way, in both databases."""

from sqlalchemy import ColumnElement, func, literal_column

from ledger.database.schema import AnyRow


def exact_sum(column: ColumnElement[int]) -> tuple[ColumnElement[int | None], ColumnElement[int | None]]:
    """Two columns that from_exact_sum combines into one sum, which may exceed 64 bits on the way.

    SQLite fails on a sum beyond 64 bits, and PostgreSQL leaves integers for it.
    """
    high = func.sum(column.op(">>")(literal_column("32")))
    low = func.sum(column.op("&")(literal_column("4294967295")))
    return high.label("sum_high"), low.label("sum_low")


def from_exact_sum(row: AnyRow) -> int:
    """The sum in a row that has exact_sum's columns; 0 where nothing was summed."""
    return from_exact_sums(row.sum_high, row.sum_low)


def from_exact_sums(high: int | None, low: int | None) -> int:
    """The sum from the values of the two columns."""
    return (int(high or 0) << 32) + int(low or 0)
