"""A ledger that has grown: many accounts, long histories, written by the database itself in a few statements."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import URL, Connection, create_engine, make_url, text

from ledger.database.engine import Ledger
from ledger.pools import fund_pool
from ledger.programs import apply_program
from staking.days import MICROSECONDS_PER_DAY, ONE_DAY, start_of
from staking.money import MAX_ACCOUNT_UNITS, UNITS_PER_TOKEN
from staking.program import Program

FIRST_DAY = date(2026, 1, 1)
"""The day of every activation."""
NEXT_DAY = FIRST_DAY + 2 * ONE_DAY
"""The day that is closed next. The day before is the first accrual day of every user, and it is credited."""
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_HELD = 1000 * UNITS_PER_TOKEN
"""What a user holds of each asset, in units. It is above every minimum of the shipped program."""


@dataclass(frozen=True)
class Users:
    """Users who are alike. Their ids begin with the same text."""

    name: str
    count: int
    assets: int = 1
    movements: int = 1
    """How many movements each account has in the past. However many they are, they sum to the same balance."""

    @property
    def ids(self) -> list[str]:
        """Every user's id."""
        return [self.id_of(number) for number in range(1, self.count + 1)]

    def id_of(self, number: int) -> str:
        """The id of a user. Ids are sorted as their numbers are."""
        return f"{self.name}-{10_000_000 + number}"


def sync_url(url: str) -> URL:
    """A ledger's URL for a synchronous engine."""
    return make_url(url).set(drivername="sqlite" if url.startswith("sqlite") else "postgresql+psycopg")


def enrolment_of(user_id: str) -> str:
    """The id of a user's enrolment."""
    return f"enrolment-of-{user_id}"


async def furnish(ledger: Ledger, program: Program) -> None:
    """Puts the program in force and fills its pools."""
    await apply_program(ledger, program, operator="benchmarks", now=LONG_AGO)
    for asset in program.assets:
        await fund_pool(ledger, asset, MAX_ACCOUNT_UNITS, operator="benchmarks", now=LONG_AGO)


def add_users(url: str, users: Users, program: Program) -> None:
    """Adds users to a furnished ledger, each enrolled and paid so far.

    Foreign keys are not checked meanwhile, since that would be done row by row. Every other guard is in force.
    """
    assets = list(program.assets)[: users.assets]
    engine = create_engine(sync_url(url))
    in_haste = _IN_HASTE[engine.dialect.name]
    try:
        with engine.connect() as connection:
            for statement in in_haste:
                connection.execute(text(statement))
            connection.commit()
            _add(connection, users, assets)
            connection.commit()
    finally:
        engine.dispose()


def _add(connection: Connection, users: Users, assets: list[str]) -> None:
    paid_day, activated_at = NEXT_DAY - ONE_DAY, start_of(FIRST_DAY) + ONE_DAY / 2
    given = {
        "name": users.name,
        "count": users.count,
        "activated_at": _microseconds(activated_at),
        "closed_through": _microseconds(start_of(NEXT_DAY)),
        "day": _microseconds(start_of(paid_day)) // MICROSECONDS_PER_DAY,
        "balance": _HELD,
        "amount": _HELD // users.movements,
        "rows": users.count * users.movements,
        "first_at": _microseconds(activated_at) - users.movements * _BETWEEN_MOVEMENTS,
    }
    for statement in _OF_EVERYONE:
        connection.execute(text(statement), given)
    for asset in assets:
        given |= {
            "asset": asset,
            "accounts": connection.scalar(text("SELECT max(account_id) FROM accounts")),
            "entries": connection.scalar(text("SELECT max(entry_id) FROM entries")),
        }
        for statement in _OF_AN_ASSET:
            connection.execute(text(statement), given)
    if connection.dialect.name == "postgresql":
        for statement in _NUMBER_ON:
            connection.execute(text(statement))


def _microseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


_IN_HASTE = {
    "sqlite": ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -500000"),
    "postgresql": ("SET session_replication_role = replica", "SET synchronous_commit = off"),
}
"""Settings of this connection alone. A SQLite ledger returns to its own journal mode when it is opened."""
_BETWEEN_MOVEMENTS = 1_000_000
"""The microseconds between two movements of a user. In this time there is a movement of every other user."""
_USERS = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :count)"
_USER_ID = ":name || '-' || CAST(10000000 + i AS TEXT)"
_OF_EVERYONE = (
    f"""INSERT INTO users (user_id, closed_through, latest_effective_at)
        {_USERS} SELECT {_USER_ID}, :closed_through, :activated_at FROM numbers""",
    f"""INSERT INTO enrolments
            (enrolment_id, user_id, region, channel, activated_at, recorded_at, first_accrual_day)
        {_USERS} SELECT 'enrolment-of-' || {_USER_ID}, {_USER_ID}, 'FR', 'web', :activated_at, :activated_at, :day
        FROM numbers""",
    f"""INSERT INTO acceptances (enrolment_id, document, version)
        {_USERS} SELECT 'enrolment-of-' || {_USER_ID}, 'terms_of_use', '2026-01-01' FROM numbers""",
    f"""INSERT INTO days (user_id, day, enrolment_id, program_version, accrues, closed_at, credited_at, late)
        {_USERS} SELECT {_USER_ID}, :day, 'enrolment-of-' || {_USER_ID}, 1, TRUE,
            :closed_through, :closed_through, FALSE
        FROM numbers""",
)
_MOVEMENTS = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :rows)"
_MOVER = "1 + (i - 1) % :count"
_MOVED_AT = f":first_at + {_BETWEEN_MOVEMENTS} * CAST((i - 1) / :count AS BIGINT)"
_OF_AN_ASSET = (
    f"""INSERT INTO accounts (account_id, kind, user_id, asset, shard, balance)
        {_USERS} SELECT :accounts + i, 'spot', {_USER_ID}, :asset, 0, :balance FROM numbers""",
    f"""INSERT INTO snapshots (user_id, day, asset, opening, closing, average)
        {_USERS} SELECT {_USER_ID}, :day, :asset, :balance, :balance, :balance FROM numbers""",
    f"""INSERT INTO rewards (user_id, day, asset, minimum, cap, apr, reward, outcome)
        {_USERS} SELECT {_USER_ID}, :day, :asset, '1', '1000', '0', 0, 'paused' FROM numbers""",
    f"""INSERT INTO entries (entry_id, kind, user_id, idempotency_key, effective_at, recorded_at)
        {_MOVEMENTS} SELECT :entries + i, 'deposit', :name || '-' || CAST(10000000 + {_MOVER} AS TEXT),
            'deposit-' || CAST(1000000000 + :entries + i AS TEXT), {_MOVED_AT}, :activated_at
        FROM numbers""",
    f"""INSERT INTO postings (entry_id, account_id, effective_at, amount)
        {_MOVEMENTS} SELECT :entries + i, :accounts + {_MOVER}, {_MOVED_AT}, :amount FROM numbers""",
    f"""INSERT INTO postings (entry_id, account_id, effective_at, amount)
        {_MOVEMENTS} SELECT :entries + i,
            (SELECT account_id FROM accounts WHERE kind = 'outside' AND asset = :asset), {_MOVED_AT}, - :amount
        FROM numbers""",
)
"""Their last day earned nothing, as if their assets had been paused."""
_NUMBER_ON = (
    "SELECT setval(pg_get_serial_sequence('accounts', 'account_id'), (SELECT max(account_id) FROM accounts))",
    "SELECT setval(pg_get_serial_sequence('entries', 'entry_id'), (SELECT max(entry_id) FROM entries))",
)
