"""The tables. Amounts are integers of 10⁻⁸, instants microseconds and days days since 1970-01-01 UTC.

Integers, since SQLite and PostgreSQL compute with them alike, exactly, in set-based SQL.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    event,
    literal_column,
)

from staking.days import day_of, in_utc
from staking.money import MAX_ACCOUNT_UNITS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.date().toordinal()
_MICROSECOND = timedelta(microseconds=1)


def stored_instant(instant: datetime) -> int:
    """An aware instant as it is stored: microseconds since 1970-01-01 00:00 UTC."""
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def stored_day(day: date) -> int:
    """A UTC day as it is stored: days since 1970-01-01."""
    return day.toordinal() - _EPOCH_DAY


def instant_of(stored: int) -> datetime:
    """The instant in UTC that is stored as so many microseconds."""
    return _EPOCH + stored * _MICROSECOND


class UtcInstant(TypeDecorator[datetime]):
    """An aware datetime as microseconds since 1970-01-01 00:00 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else stored_instant(in_utc(value))

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else instant_of(value)


class UtcDay(TypeDecorator[date]):
    """A UTC day as days since 1970-01-01, so that ``instant / 86400000000`` is its day in SQL."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Dialect) -> int | None:
        if isinstance(value, datetime):
            value = day_of(value)
        return None if value is None else stored_day(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> date | None:
        return None if value is None else date.fromordinal(value + _EPOCH_DAY)


AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row whose columns are accessed by name."""

metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")
_Name = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is ordered by its bytes in every database, as in Python, since locks are taken in the order of
names."""


def _integer_check(column: str) -> CheckConstraint:
    # SQLite turns an overflowing sum into a float without an error.
    return CheckConstraint(
        f"{column} IS NULL OR typeof({column}) = 'integer'", name=f"{column}_is_integer"
    ).ddl_if(dialect="sqlite")


users = Table(
    "users",
    metadata,
    Column("user_id", _Name, primary_key=True),
    Column("closed_through", UtcInstant, nullable=False),
    Column("latest_effective_at", UtcInstant, nullable=False),
    Column("generation", BigInteger, nullable=False, server_default="0"),
    _integer_check("closed_through"),
    comment="The row that is locked by every posting to a user; closed_through is the watermark (I4).",
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", _Id, primary_key=True),
    Column("kind", _Name, nullable=False),
    Column("user_id", _Name, ForeignKey("users.user_id")),
    Column("asset", _Name, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("balance", BigInteger),
    CheckConstraint("kind IN ('spot', 'pool', 'outside')", name="kind"),
    CheckConstraint("(kind = 'spot') = (user_id IS NOT NULL)", name="owner"),
    CheckConstraint("(kind = 'outside') = (balance IS NULL)", name="stored_balance"),
    CheckConstraint(f"balance BETWEEN 0 AND {MAX_ACCOUNT_UNITS}", name="balance_range"),
    _integer_check("balance"),
    comment="Spot accounts of users, reward pools (an asset may have several shards), the outside world.",
)
Index(
    "one_spot_account",
    accounts.c.user_id,
    accounts.c.asset,
    unique=True,
)
IS_OF_THE_SYSTEM = accounts.c.kind != literal_column("'spot'")
"""Whether an account is a pool or the outside world. This is literally the condition of the index below, so
that a database knows that it may use the index."""
Index(
    "one_system_account",
    accounts.c.kind,
    accounts.c.asset,
    accounts.c.shard,
    unique=True,
    sqlite_where=IS_OF_THE_SYSTEM,
    postgresql_where=IS_OF_THE_SYSTEM,
)

entries = Table(
    "entries",
    metadata,
    Column("entry_id", _Id, primary_key=True),
    Column("kind", _Name, nullable=False),
    Column("user_id", _Name, ForeignKey("users.user_id")),
    Column("idempotency_key", _Name, unique=True),
    Column("effective_at", UtcInstant, nullable=False),
    Column("recorded_at", UtcInstant, nullable=False),
    Column("occurred_at", UtcInstant),
    Column("note", Text),
    Column("operator", Text),
    Column("reason", Text),
    Column("reverses", _Id, ForeignKey("entries.entry_id")),
    Column("tell", Text),
    Column("import_number", BigInteger),
    comment="The journal. Never updated, never deleted; a correction is an entry that reverses another.",
)
Index("entries_of_a_user", entries.c.user_id, entries.c.effective_at)
Index(
    "entries_of_an_import",
    entries.c.import_number,
    sqlite_where=entries.c.import_number.is_not(None),
    postgresql_where=entries.c.import_number.is_not(None),
)
Index(
    "entries_by_occurrence",
    entries.c.user_id,
    entries.c.occurred_at,
    sqlite_where=entries.c.occurred_at.is_not(None),
    postgresql_where=entries.c.occurred_at.is_not(None),
)
Index(
    "one_reversal",
    entries.c.reverses,
    unique=True,
    sqlite_where=entries.c.reverses.is_not(None),
    postgresql_where=entries.c.reverses.is_not(None),
)

postings = Table(
    "postings",
    metadata,
    Column("entry_id", _Id, ForeignKey("entries.entry_id"), primary_key=True),
    Column("account_id", _Id, ForeignKey("accounts.account_id"), primary_key=True),
    Column("effective_at", UtcInstant, nullable=False),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("amount <> 0", name="amount_moves"),
    _integer_check("amount"),
    _integer_check("effective_at"),
    sqlite_with_rowid=False,
)
# It contains the amount, so that a sum over a span of time reads only the index.
Index("postings_of_an_account", postings.c.account_id, postings.c.effective_at, postings.c.amount)

program_versions = Table(
    "program_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("effective_from", UtcDay, nullable=False),
    Column("content", Text, nullable=False),
    Column("applied_at", UtcInstant, nullable=False),
    comment="In force on a day: the latest effective_from, of equal ones the highest version. Never updated.",
)
Index("program_in_force", program_versions.c.effective_from, program_versions.c.version)

enrolments = Table(
    "enrolments",
    metadata,
    Column("enrolment_id", _Name, primary_key=True),
    Column("user_id", _Name, ForeignKey("users.user_id"), nullable=False),
    Column("region", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("app_version", Text),
    Column("activated_at", UtcInstant, nullable=False),
    Column("recorded_at", UtcInstant, nullable=False),
    Column("first_accrual_day", UtcDay, nullable=False),
    Column("operator", Text),
    Column("operator_reason", Text),
    Column("ended_at", UtcInstant),
    Column("end_reason", Text),
    Column("last_accrual_day", UtcDay),
    Column("owed_days_at_end", Integer),
    Column("end_operator", Text),
    Column("end_tell", Text),
    CheckConstraint(
        "(ended_at IS NULL) = (last_accrual_day IS NULL) AND (ended_at IS NULL) = (end_reason IS NULL)"
        " AND (ended_at IS NULL) = (owed_days_at_end IS NULL)",
        name="end_is_whole",
    ),
    comment="One activation of a user. last_accrual_day before first_accrual_day: no day was accrued.",
)
Index(
    "one_open_enrolment",
    enrolments.c.user_id,
    unique=True,
    sqlite_where=enrolments.c.ended_at.is_(None),
    postgresql_where=enrolments.c.ended_at.is_(None),
)
Index("enrolments_of_a_user", enrolments.c.user_id, enrolments.c.activated_at)

acceptances = Table(
    "acceptances",
    metadata,
    Column("enrolment_id", _Name, ForeignKey("enrolments.enrolment_id"), primary_key=True),
    Column("document", _Name, primary_key=True),
    Column("version", Text, nullable=False),
    sqlite_with_rowid=False,
)

days = Table(
    "days",
    metadata,
    Column("user_id", _Name, ForeignKey("users.user_id"), primary_key=True),
    Column("day", UtcDay, primary_key=True),
    Column("enrolment_id", _Name, ForeignKey("enrolments.enrolment_id"), nullable=False),
    Column("program_version", Integer, ForeignKey("program_versions.version"), nullable=False),
    Column("accrues", Boolean, nullable=False),
    Column("closed_at", UtcInstant, nullable=False),
    Column("credited_at", UtcInstant),
    Column("late", Boolean),
    Column("entry_id", _Id, ForeignKey("entries.entry_id"), unique=True),
    CheckConstraint("(credited_at IS NULL) = (late IS NULL)", name="credit_is_whole"),
    CheckConstraint("accrues OR credited_at IS NULL", name="only_accrual_days_are_credited"),
    sqlite_with_rowid=False,
    comment="One record per user and closed day: an empty day can be told from a lost one.",
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("user_id", _Name, primary_key=True),
    Column("day", UtcDay, primary_key=True),
    Column("asset", _Name, primary_key=True),
    Column("opening", BigInteger, nullable=False),
    Column("closing", BigInteger, nullable=False),
    Column("average", BigInteger, nullable=False),
    ForeignKeyConstraint(["user_id", "day"], ["days.user_id", "days.day"]),
    CheckConstraint("opening >= 0 AND closing >= 0 AND average >= 0", name="holdings_are_not_negative"),
    _integer_check("opening"),
    _integer_check("closing"),
    _integer_check("average"),
    sqlite_with_rowid=False,
)

rewards = Table(
    "rewards",
    metadata,
    Column("user_id", _Name, primary_key=True),
    Column("day", UtcDay, primary_key=True),
    Column("asset", _Name, primary_key=True),
    Column("minimum", Text, nullable=False),
    Column("cap", Text, nullable=False),
    Column("apr", Text, nullable=False),
    Column("reward", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("formula", Integer, nullable=False, server_default="1"),
    ForeignKeyConstraint(["user_id", "day", "asset"], ["snapshots.user_id", "snapshots.day", "snapshots.asset"]),
    CheckConstraint("(outcome IN ('earned', 'capped')) = (reward > 0) AND reward >= 0", name="zero_has_a_reason"),
    _integer_check("reward"),
    sqlite_with_rowid=False,
    comment="One reward per user, day and asset (I3), with the terms and the formula it was computed with.",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("api_key", Text, primary_key=True),
    Column("user_id", _Name, nullable=False),
    Column("kind", _Name, nullable=False),
    Column("sealed_secret", LargeBinary),
    Column("public_key", Text),
    Column("read_only", Boolean, nullable=False),
    Column("region", Text),
    Column("created_at", UtcInstant, nullable=False),
    Column("revoked_at", UtcInstant),
    CheckConstraint("kind IN ('hmac', 'rsa', 'ed25519')", name="key_kind"),
    CheckConstraint(
        "(kind = 'hmac') = (sealed_secret IS NOT NULL) AND (kind = 'hmac') = (public_key IS NULL)",
        name="secret_or_public_key",
    ),
    comment="Keys of users' own programs. An HMAC key's secret is encrypted under a key that is not here.",
)
Index("api_keys_of_a_user", api_keys.c.user_id)

api_key_acceptances = Table(
    "api_key_acceptances",
    metadata,
    Column("api_key", Text, ForeignKey("api_keys.api_key"), primary_key=True),
    Column("document", _Name, primary_key=True),
    Column("version", Text, nullable=False),
    sqlite_with_rowid=False,
    comment="The document versions that a user had accepted when the key was made; it activates with them.",
)

service_tokens = Table(
    "service_tokens",
    metadata,
    Column("token_id", _Name, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("created_at", UtcInstant, nullable=False),
    Column("revoked_at", UtcInstant),
    comment="Bearer tokens of product services: the SHA-256 of each, never the token itself.",
)

ActKind: TypeAlias = Literal[
    "hold",
    "release",
    "deactivate",
    "retry",
    "resume",
    "activate",
    "reverse",
    "adjust",
    "fund",
    "program_apply",
    "program_pause",
    "program_resume",
    "key_create",
    "key_revoke",
    "token_create",
    "token_revoke",
    "import",
    "import_undo",
    "movement_dismiss",
    "source_release",
    "source_remove",
    "webhook_add",
    "webhook_remove",
    "webhook_replay",
]
"""What operators do: to a user's loop, to balances and pools, to the terms, to feeds, and to keys and tokens."""
ACT_KINDS_THAT_NEED_NO_REASON: tuple[ActKind, ...] = (
    "fund",
    "program_apply",
    "key_create",
    "key_revoke",
    "token_create",
    "token_revoke",
    "import",
    "webhook_add",
    "webhook_remove",
)


def _among(kinds: Sequence[str]) -> str:
    return ", ".join(f"'{kind}'" for kind in kinds)


acts = Table(
    "acts",
    metadata,
    Column("act_number", _Id, primary_key=True),
    Column("act_id", _Name, nullable=False, unique=True),
    Column("user_id", _Name, ForeignKey("users.user_id")),
    Column("kind", _Name, nullable=False),
    Column("operator", Text, nullable=False),
    Column("reason", Text),
    Column("recorded_at", UtcInstant, nullable=False),
    Column("subject", Text),
    Column("tell", Text),
    CheckConstraint(f"kind IN ({_among(get_args(ActKind))})", name="act_kind"),
    CheckConstraint(
        f"reason IS NOT NULL OR kind IN ({_among(ACT_KINDS_THAT_NEED_NO_REASON)})", name="act_has_a_reason"
    ),
    comment="What operators did, for a user or for nobody. Held: the last of hold and release is a hold.",
)
Index("acts_of_a_user", acts.c.user_id, acts.c.act_number)
Index("acts_of_a_kind", acts.c.kind, acts.c.user_id, acts.c.act_number)

imports = Table(
    "imports",
    metadata,
    Column("import_number", _Id, primary_key=True),
    Column("files", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("answer", Text),
    Column("operator", Text, nullable=False),
    Column("reason", Text),
    Column("recorded_at", UtcInstant, nullable=False),
    Column("finished_at", UtcInstant),
    Column("undone_at", UtcInstant),
    comment="Exports that were imported. Without finished_at: interrupted, and a part is in the journal.",
)
Index("imports_of_a_content", imports.c.digest)

import_spans = Table(
    "import_spans",
    metadata,
    Column("import_number", _Id, ForeignKey("imports.import_number"), primary_key=True),
    Column("user_id", _Name, primary_key=True),
    Column("first_instant", UtcInstant, nullable=False),
    Column("last_instant", UtcInstant, nullable=False),
    sqlite_with_rowid=False,
    comment="From which instant to which an import knows a user's movements.",
)
Index("imports_of_a_user", import_spans.c.user_id)

refused_movements = Table(
    "refused_movements",
    metadata,
    Column("refused_number", _Id, primary_key=True),
    Column("movement_id", _Name, nullable=False, unique=True),
    Column("group_name", _Name),
    Column("content", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("first_refused_at", UtcInstant, nullable=False),
    Column("last_refused_at", UtcInstant, nullable=False),
    Column("times", BigInteger, nullable=False),
    comment="Movements of feeds that could not be posted, as they came last. One that is posted is taken off.",
)
Index(
    "refused_movements_of_a_group",
    refused_movements.c.group_name,
    sqlite_where=refused_movements.c.group_name.is_not(None),
    postgresql_where=refused_movements.c.group_name.is_not(None),
)

sources = Table(
    "sources",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("complete_through", UtcInstant, nullable=False),
    Column("told_at", UtcInstant, nullable=False),
    Column("registered_at", UtcInstant, nullable=False),
    Column("released_through", UtcInstant),
    comment="Feeds without whose word no day is closed for anyone. released_through: operators let days up to "
    "there close without it.",
)

EVENT_KINDS = (
    "enrolment.began",
    "enrolment.ended",
    "reward.credited",
    "reward.reversed",
    "movement.refused",
    "program.applied",
    "day.delayed",
)
"""What systems outside are told."""

events = Table(
    "events",
    metadata,
    Column("event_number", _Id, primary_key=True),
    Column("kind", _Name, nullable=False),
    Column("user_id", _Name),
    Column("day", UtcDay),
    Column("about", Text),
    Column("recorded_at", UtcInstant, nullable=False),
    Column("entry_id", BigInteger),
    Column("late", Boolean),
    Column("data", Text),
    CheckConstraint(f"kind IN ({_among(EVENT_KINDS)})", name="event_kind"),
    CheckConstraint("(kind = 'reward.credited') = (data IS NULL)", name="event_has_its_data"),
    comment="What systems outside are told, in this order. The lines of a credit are in rewards.",
)
IS_OF_A_DELAYED_DAY = events.c.kind == literal_column("'day.delayed'")
"""This is literally the condition of the index below, as with IS_OF_THE_SYSTEM."""
Index(
    "one_event_of_a_delayed_day",
    events.c.user_id,
    events.c.day,
    unique=True,
    sqlite_where=IS_OF_A_DELAYED_DAY,
    postgresql_where=IS_OF_A_DELAYED_DAY,
)

event_readers = Table(
    "event_readers",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("read_through", BigInteger, nullable=False),
    Column("asked_at", UtcInstant, nullable=False),
    comment="Systems that read events: each has had all of them up to a number.",
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("webhook_id", _Name, primary_key=True),
    Column("url", Text, nullable=False),
    Column("kinds", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("created_at", UtcInstant, nullable=False),
    Column("failing_since", UtcInstant),
    Column("tries", BigInteger, nullable=False),
    Column("last_error", Text),
    Column("removed_at", UtcInstant),
    comment="Addresses to which events are sent. How far each is stands in event_readers.",
)

feed_offsets = Table(
    "feed_offsets",
    metadata,
    Column("consumer_group", _Name, primary_key=True),
    Column("topic", _Name, primary_key=True),
    Column("partition_number", BigInteger, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("moved_at", UtcInstant, nullable=False),
    comment="How far each partition of a topic was read, written in the transaction that posts what it said. "
    "0: nothing was read.",
)

feed_marks = Table(
    "feed_marks",
    metadata,
    Column("consumer_group", _Name, primary_key=True),
    Column("topic", _Name, primary_key=True),
    Column("source", _Name, primary_key=True),
    Column("partition_number", BigInteger, primary_key=True, autoincrement=False),
    Column("complete_through", UtcInstant, nullable=False),
    comment="How far each partition of a topic is complete, by its source's own word. The lowest counts.",
)

refused_messages = Table(
    "refused_messages",
    metadata,
    Column("message_number", _Id, primary_key=True),
    Column("topic", _Name, nullable=False),
    Column("partition_number", BigInteger, nullable=False),
    Column("message_offset", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("refused_at", UtcInstant, nullable=False),
    UniqueConstraint("topic", "partition_number", "message_offset"),
    comment="Messages of a topic that say nothing that can be posted, with the beginning of what they say.",
)

_WRITTEN_ONCE = (entries, postings, program_versions, acceptances, snapshots, rewards, acts)


def _refuse(table: Table, action: str, *, when: str = "", why: str) -> None:
    """A trigger that refuses to change a row that is written once, whoever asks."""
    name = f"{table.name}_no_{action.lower()}"
    condition = f" WHEN ({when})" if when else ""
    event.listen(
        table,
        "after_create",
        DDL(
            f"CREATE TRIGGER {name} BEFORE {action} ON {table.name}{condition} "
            f"BEGIN SELECT RAISE(ABORT, '{why}'); END"
        ).execute_if(dialect="sqlite"),
    )
    event.listen(
        table,
        "after_create",
        DDL(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{why}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        ).execute_if(dialect="postgresql"),
    )
    event.listen(
        table,
        "after_create",
        DDL(
            f"CREATE TRIGGER {name} BEFORE {action} ON {table.name} FOR EACH ROW{condition} "
            f"EXECUTE FUNCTION {name}()"
        ).execute_if(dialect="postgresql"),
    )


for _table in _WRITTEN_ONCE:
    _refuse(_table, "UPDATE", why=f"{_table.name} are written once")
    _refuse(_table, "DELETE", why=f"{_table.name} are never deleted")
_refuse(events, "UPDATE", why="events are written once")
_refuse(days, "UPDATE", when="OLD.credited_at IS NOT NULL", why="a credited day never changes")
_refuse(days, "DELETE", why="days are never deleted")
_refuse(users, "UPDATE", when="NEW.closed_through < OLD.closed_through", why="a closed day is never opened again")
_refuse(
    sources,
    "UPDATE",
    when="NEW.complete_through < OLD.complete_through",
    why="how far a source is complete only rises",
)
_refuse(
    feed_offsets,
    "UPDATE",
    when="NEW.next_offset < OLD.next_offset",
    why="how far a partition was read only rises",
)
