"""Writing many rows with one statement.

SQLite runs a statement over many rows within the process. PostgreSQL would get a message for each row. So for
PostgreSQL the rows are sent as an array for each column, in one message with one text, which it plans once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Column,
    Executable,
    Insert,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Row: TypeAlias = Mapping[str, object]
"""One row's values, by the names of a table's columns."""
Rows: TypeAlias = Sequence[Mapping[str, Any]]
Stored: TypeAlias = int | str | None
"""A value as the database stores it: instants are microseconds since 1970-01-01 UTC."""
_Names: TypeAlias = tuple[str, ...]


async def insert_rows(connection: AsyncConnection, table: Table, rows: Rows) -> None:
    """Inserts rows, all of which name the same columns. Without rows nothing is done."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        names = tuple(rows[0])
        await connection.execute(_insert_arrays(table, names), _arrays(names, rows))
    else:
        await connection.execute(insert(table), [dict(row) for row in rows])


async def insert_missing(connection: AsyncConnection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Inserts the rows that do not conflict with a unique index, and leaves the existing rows as they are."""
    of_dialect = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = list(rows)
    if values:
        await connection.execute(of_dialect(table).on_conflict_do_nothing(), values)


async def insert_numbered_rows(connection: AsyncConnection, table: Table, rows: Rows) -> list[int]:
    """Inserts rows whose key is an integer from the database. Answers the keys, in the order of the rows."""
    (key,) = table.primary_key
    if connection.dialect.name == "postgresql":
        names = tuple(rows[0])
        inserted = await connection.execute(_insert_arrays(table, names).returning(key), _arrays(names, rows))
        # The keys are given in the order of the arrays, but the answers may come in another order.
        return sorted(inserted.scalars())
    if len(rows) == 1:
        return list((await connection.execute(insert(table).returning(key), dict(rows[0]))).scalars())
    # SQLite returns no keys for many rows. But there is one writer, and a new key is the successor of the last
    # one.
    last: int = await connection.scalar(select(func.max(key))) or 0
    numbered = [{**row, key.name: number} for number, row in enumerate(rows, last + 1)]
    await insert_rows(connection, table, numbered)
    return [row[key.name] for row in numbered]


async def update_rows(connection: AsyncConnection, table: Table, rows: Rows) -> None:
    """For each given row, finds the table's row with the same primary key, and sets the other columns that it
    names."""
    if not rows:
        return
    names = tuple(rows[0])
    if connection.dialect.name == "postgresql":
        await connection.execute(_update_from_arrays(table, names), _arrays(names, rows))
    else:
        await connection.execute(_update_one(table, names), [_bound(row) for row in rows])


async def insert_stored(
    connection: AsyncConnection, table: Table, names: _Names, rows: Sequence[tuple[Stored, ...]]
) -> None:
    """Like insert_rows, for the many rows of a bulk: values are as they are stored, in the order of the names."""
    if connection.dialect.name == "postgresql":
        same, given = literals_of(texts_of(table), names, rows)
        await connection.exec_driver_sql(_insert_literals(table, names, same), given)
    else:
        places = ", ".join("?" * len(names))
        await connection.exec_driver_sql(
            f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})", list(rows)
        )


async def insert_numbered_stored(
    connection: AsyncConnection, table: Table, names: _Names, rows: Sequence[tuple[Stored, ...]]
) -> Sequence[int]:
    """Like insert_numbered_rows, for the many rows of a bulk: see insert_stored."""
    (key,) = table.primary_key
    if connection.dialect.name == "postgresql":
        same, given = literals_of(texts_of(table), names, rows)
        statement = f"{_insert_literals(table, names, same)} RETURNING {key.name}"
        inserted = await connection.exec_driver_sql(statement, given)
        return sorted(inserted.scalars())
    last: int = await connection.scalar(select(func.max(key))) or 0
    keys = range(last + 1, last + 1 + len(rows))
    numbered = [(number, *row) for number, row in zip(keys, rows, strict=True)]
    await insert_stored(connection, table, (key.name, *names), numbered)
    return keys


@cache
def texts_of(table: Table) -> frozenset[str]:
    """The names of the columns that hold text."""
    return frozenset(column.name for column in table.c if isinstance(column.type, Text))


@cache
def _insert_literals(table: Table, names: _Names, same: _Names) -> str:
    given, values = given_literals(tuple((name, type_of(table.c[name])) for name in names), same)
    return f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {values} FROM {given} ORDER BY number"


def given_literals(types: Sequence[tuple[str, str]], same: Collection[str]) -> tuple[str, str]:
    """The FROM clause for rows that are sent as in ``literals_of``, and the expression for each column.

    ``types`` are the columns' names and types in PostgreSQL. A value that is the same in all rows is sent once.
    The values of any other column are sent as the text of one array, which costs a fraction of an array of
    parameters. The rows have a ``number``, which is the order in which they were given.
    """
    differing = [(name, kind) for name, kind in types if name not in same]
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in differing)
    values = ", ".join(f"%({name})s::{kind} AS {name}" if name in same else name for name, kind in types)
    names = ", ".join(name for name, _ in differing)
    return f"unnest({arrays}) WITH ORDINALITY AS given({names}, number)", values


def type_of(column: Column[Any]) -> str:
    """A column's type in PostgreSQL. The tables have only these types."""
    return "text" if isinstance(column.type, Text) else "bigint"


def literals_of(
    texts: Collection[str], names: _Names, rows: Sequence[tuple[Stored, ...]]
) -> tuple[_Names, dict[str, Stored]]:
    """The names of the columns whose values are the same in all rows, and each column's parameter.

    ``texts`` are the names of the columns that hold text.
    """
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    same = [name for name, values in columns.items() if values.count(values[0]) == len(values)]
    if len(same) == len(names):
        same.pop()  # one array must show how many rows there are
    given: dict[str, Stored] = {
        name: values[0] if name in same else array_literal(values, is_text=name in texts)
        for name, values in columns.items()
    }
    return tuple(same), given


def array_literal(values: Sequence[Stored], *, is_text: bool) -> str:
    """The text of an array in PostgreSQL."""
    if is_text:
        written = {value: _quoted(value) for value in set(values)}
        return f"{{{','.join([written[value] for value in values])}}}"
    return f"{{{','.join(map(str, values))}}}".replace("None", "NULL")


def _quoted(value: Stored) -> str:
    if value is None:
        return "NULL"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _arrays(names: _Names, rows: Rows) -> dict[str, list[Any]]:
    return {_parameter(name): [row[name] for row in rows] for name in names}


def _bound(row: Mapping[str, Any]) -> dict[str, Any]:
    return {_parameter(name): value for name, value in row.items()}


def _parameter(name: str) -> str:
    return f"new_{name}"  # in an update, SQLAlchemy reserves the columns' own names


def _array(column: Column[Any]) -> BindParameter[Any]:
    return bindparam(_parameter(column.name), type_=ARRAY(column.type))


@cache
def _insert_arrays(table: Table, names: _Names) -> Insert:
    arrays = func.unnest(*(_array(table.c[name]) for name in names))
    given = arrays.table_valued(*names, with_ordinality="number", name="given").render_derived()
    return insert(table).from_select(names, select(*(given.c[name] for name in names)).order_by(given.c.number))


@cache
def _update_from_arrays(table: Table, names: _Names) -> Executable:
    arrays = func.unnest(*(_array(table.c[name]) for name in names))
    given = arrays.table_valued(*names, name="given").render_derived()
    keys = _keys(table)
    return (
        update(table)
        .where(*(table.c[name] == given.c[name] for name in keys))
        .values({name: given.c[name] for name in names if name not in keys})
    )


@cache
def _update_one(table: Table, names: _Names) -> Executable:
    keys = _keys(table)
    return (
        update(table)
        .where(*(table.c[name] == bindparam(_parameter(name)) for name in keys))
        .values({name: bindparam(_parameter(name)) for name in names if name not in keys})
    )


def _keys(table: Table) -> Collection[str]:
    return [column.name for column in table.primary_key]
