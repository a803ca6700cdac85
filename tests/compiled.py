"""SQL that is compiled once for all engines of a process.

Every test opens ledgers of its own, each with an engine, and each engine would compile every statement anew: half
of all statements that tests send, where a program in use compiles hardly any.
"""

from collections.abc import Hashable
from typing import Any

from sqlalchemy import Connection, Engine, event


class _Compiled(dict[Hashable, Any]):
    """SQLAlchemy's cache of compiled statements, in which engines with dialects of one class share a place."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_shared(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_shared(key), compiled)


def _shared(key: tuple[Any, ...]) -> Hashable:
    """What the first part of a key, the dialect of one engine, is of."""
    dialect, *statement = key
    return (type(dialect), *statement)


_compiled = _Compiled()


def share_what_is_compiled() -> None:
    """From now on, in every engine of this process."""
    event.listen(Engine, "engine_connect", _use)


def _use(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_compiled)
