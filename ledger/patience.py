"""How long the ledger waits for its database: every wait has an end on this side, whatever the other side does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Limits in seconds. A step's start-to-close timeout is longer than each, so that the reason comes back."""

    turn_s: float = 4
    """For a place in this process's queue, a connection, the beginning of a transaction, a lock: each."""
    upgrade_turn_s: float = 60
    """For a SQLite ledger's lock, which another process may hold to upgrade it: nobody's step waits for this."""
    statement_s: float = 6
    """For the database to answer one statement; it ends the statement itself after this time."""
    long_statement_s: float = 6 * 3600
    """The same for an audit or an upgrade, which a person waits for and can interrupt."""
    idle_s: float = 8
    """The database ends a transaction whose process says nothing for so long, and its locks with it."""
    long_idle_s: float = 600
    """The same for one that reads and takes long: it holds no locks, and its process computes for a while."""
    grace_s: float = 1
    """What is not answered this much later than the database would have given it up is not answered at all."""
    close_s: float = 7
    """For what is being written when the ledger is closed."""
    batch_s: float = 20
    """For the answers to requests that are written together: by then all their callers have gone."""
