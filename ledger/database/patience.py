"""How long the ledger waits for its database. Every wait has a limit on this side, whatever the other side
does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Limits in seconds. A step's start-to-close timeout of 10 s is longer than those for a turn and for a
    statement, so that the step learns the reason."""

    turn_s: float = 4
    """The limit for each of these: a turn in this process's queue, a connection, the beginning of a
    transaction, a lock."""
    upgrade_turn_s: float = 60
    """The limit for a SQLite ledger's lock, which another process may hold to upgrade it. No step waits for
    this."""
    statement_s: float = 6
    """The limit for one statement, after which the database ends the statement."""
    long_statement_s: float = 6 * 3600
    """The same limit for an audit or an upgrade, for which a person waits, who can interrupt it."""
    idle_s: float = 8
    """If the process of a transaction is silent for so long, the database ends the transaction and releases its
    locks."""
    long_idle_s: float = 600
    """The same limit for a long reading transaction, which has no locks, and whose process computes for a
    while."""
    grace_s: float = 1
    """How long after the database's own limit an answer can still come. After that, no answer is expected."""
    close_s: float = 7
    """The limit for transactions that are under way when the ledger is closed."""
    batch_s: float = 20
    """The limit for requests that are written together. After this time all their callers have gone."""
