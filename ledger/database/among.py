"""The test whether a column has one of many values, which are one parameter in PostgreSQL.

SQLAlchemy writes a parameter for each value of an ``IN``, and so a new text for each number of values. A thousand
of them cost more than finding their rows.
"""

from collections.abc import Sequence
from typing import Any, Self

from sqlalchemy import Boolean, Column, Dialect, Text, TypeDecorator, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from ledger.database.rows import Stored, array_literal


class Among(FunctionElement[bool]):
    """Whether a column has one of the values that are given, as a sequence, when the statement is executed.

    It is for many values, which are texts or integers as the column stores them. ``parameter`` is the name under
    which they are given.
    """

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: Column[Any], parameter: str) -> None:
        super().__init__(column, bindparam(parameter, expanding=True, type_=column.type))

    def self_group(self, against: Any = None) -> Self:
        """The test as it is. SQLAlchemy would compare it with 1 where a database has no booleans, and SQLite would
        then use no index."""
        return self


class _ArrayLiteral(TypeDecorator[Sequence[Stored]]):
    """Several values, sent as the text of one array, which costs a fraction of an array of parameters."""

    impl = NullType  # SQLAlchemy would say of any other type what it is, and so of the text that it is one
    cache_ok = True

    def __init__(self, *, of_texts: bool) -> None:
        super().__init__()
        self.of_texts = of_texts

    def process_bind_param(self, value: Sequence[Stored] | None, dialect: Dialect) -> str | None:
        return None if value is None else array_literal(value, is_text=self.of_texts)


@compiles(Among)
def _a_parameter_for_each(test: Among, compiler: SQLCompiler, **options: Any) -> str:
    column, given = test.clauses
    each = bindparam(given.key, expanding=True, type_=column.type)
    return compiler.process(column.in_(each), **options)


@compiles(Among, "postgresql")
def _one_parameter(test: Among, compiler: SQLCompiler, **options: Any) -> str:
    column, given = test.clauses
    of_texts = isinstance(column.type, Text)
    array = compiler.process(bindparam(given.key, type_=_ArrayLiteral(of_texts=of_texts)), **options)
    # The parameter itself is an array, not a text that is cast: only then its values are known to the planner.
    return f"{compiler.process(column, **options)} = ANY ({array}::{'text' if of_texts else 'bigint'}[])"
