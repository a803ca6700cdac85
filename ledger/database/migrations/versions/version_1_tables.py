"""The tables of the first ledgers."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "1"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_MAX_ACCOUNT_UNITS = 9_000_000_000_000_000_000


def upgrade(op: Operations) -> None:
    _create_users_and_accounts(op)
    _create_journal(op)
    _create_program_versions(op)
    _create_enrolments(op)
    _create_days(op)
    for table in ("entries", "postings", "program_versions", "acceptances", "snapshots", "rewards"):
        _refuse(op, table, "UPDATE", why=f"{table} are written once")
        _refuse(op, table, "DELETE", why=f"{table} are never deleted")
    _refuse(op, "days", "UPDATE", when="OLD.credited_at IS NOT NULL", why="a credited day never changes")
    _refuse(op, "days", "DELETE", why="days are never deleted")
    _refuse(
        op,
        "users",
        "UPDATE",
        when="NEW.closed_through < OLD.closed_through",
        why="a closed day is never opened again",
    )


def _create_users_and_accounts(op: Operations) -> None:
    op.create_table(
        "users",
        sa.Column("user_id", _NAME, primary_key=True),
        sa.Column("closed_through", sa.BigInteger, nullable=False),
        sa.Column("latest_effective_at", sa.BigInteger, nullable=False),
        *_integer_checks(op, "closed_through"),
        comment="The row that is locked by every posting to a user; closed_through is the watermark (I4).",
    )
    op.create_table(
        "accounts",
        sa.Column("account_id", _ID, primary_key=True),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("user_id", _NAME, sa.ForeignKey("users.user_id")),
        sa.Column("asset", _NAME, nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("balance", sa.BigInteger),
        sa.CheckConstraint("kind IN ('spot', 'pool', 'outside')", name="kind"),
        sa.CheckConstraint("(kind = 'spot') = (user_id IS NOT NULL)", name="owner"),
        sa.CheckConstraint("(kind = 'outside') = (balance IS NULL)", name="stored_balance"),
        sa.CheckConstraint(f"balance BETWEEN 0 AND {_MAX_ACCOUNT_UNITS}", name="balance_range"),
        *_integer_checks(op, "balance"),
        comment="Spot accounts of users, reward pools (an asset may have several shards), the outside world.",
    )
    _create_unique_index(op, "one_spot_account", "accounts", ["user_id", "asset"], where="kind = 'spot'")
    _create_unique_index(op, "one_system_account", "accounts", ["kind", "asset", "shard"], where="kind != 'spot'")


def _create_journal(op: Operations) -> None:
    op.create_table(
        "entries",
        sa.Column("entry_id", _ID, primary_key=True),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("user_id", _NAME, sa.ForeignKey("users.user_id")),
        sa.Column("idempotency_key", _NAME, unique=True),
        sa.Column("effective_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("occurred_at", sa.BigInteger),
        sa.Column("note", sa.Text),
        comment="The journal. Never updated, never deleted.",
    )
    op.create_index("entries_of_a_user", "entries", ["user_id", "effective_at"])
    op.create_table(
        "postings",
        sa.Column("entry_id", _ID, sa.ForeignKey("entries.entry_id"), primary_key=True),
        sa.Column("account_id", _ID, sa.ForeignKey("accounts.account_id"), primary_key=True),
        sa.Column("effective_at", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.CheckConstraint("amount <> 0", name="amount_moves"),
        *_integer_checks(op, "amount", "effective_at"),
        sqlite_with_rowid=False,
    )
    op.create_index("postings_of_an_account", "postings", ["account_id", "effective_at"])


def _create_program_versions(op: Operations) -> None:
    op.create_table(
        "program_versions",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("effective_from", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("applied_at", sa.BigInteger, nullable=False),
        comment="In force on a day: the latest effective_from, of equal ones the highest version. Never updated.",
    )
    op.create_index("program_in_force", "program_versions", ["effective_from", "version"])


def _create_enrolments(op: Operations) -> None:
    op.create_table(
        "enrolments",
        sa.Column("enrolment_id", _NAME, primary_key=True),
        sa.Column("user_id", _NAME, sa.ForeignKey("users.user_id"), nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("app_version", sa.Text),
        sa.Column("activated_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("first_accrual_day", sa.Integer, nullable=False),
        sa.Column("operator", sa.Text),
        sa.Column("operator_reason", sa.Text),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("end_reason", sa.Text),
        sa.Column("last_accrual_day", sa.Integer),
        sa.Column("owed_days_at_end", sa.Integer),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (last_accrual_day IS NULL) AND (ended_at IS NULL) = (end_reason IS NULL)"
            " AND (ended_at IS NULL) = (owed_days_at_end IS NULL)",
            name="end_is_whole",
        ),
        comment="One activation of a user. last_accrual_day before first_accrual_day: no day was accrued.",
    )
    _create_unique_index(op, "one_open_enrolment", "enrolments", ["user_id"], where="ended_at IS NULL")
    op.create_index("enrolments_of_a_user", "enrolments", ["user_id", "activated_at"])
    op.create_table(
        "acceptances",
        sa.Column("enrolment_id", _NAME, sa.ForeignKey("enrolments.enrolment_id"), primary_key=True),
        sa.Column("document", _NAME, primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _create_days(op: Operations) -> None:
    op.create_table(
        "days",
        sa.Column("user_id", _NAME, sa.ForeignKey("users.user_id"), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("enrolment_id", _NAME, sa.ForeignKey("enrolments.enrolment_id"), nullable=False),
        sa.Column("program_version", sa.Integer, sa.ForeignKey("program_versions.version"), nullable=False),
        sa.Column("accrues", sa.Boolean, nullable=False),
        sa.Column("closed_at", sa.BigInteger, nullable=False),
        sa.Column("credited_at", sa.BigInteger),
        sa.Column("late", sa.Boolean),
        sa.Column("entry_id", _ID, sa.ForeignKey("entries.entry_id"), unique=True),
        sa.CheckConstraint("(credited_at IS NULL) = (late IS NULL)", name="credit_is_whole"),
        sa.CheckConstraint("accrues OR credited_at IS NULL", name="only_accrual_days_are_credited"),
        sqlite_with_rowid=False,
        comment="One record per user and closed day: an empty day can be told from a lost one.",
    )
    op.create_table(
        "snapshots",
        sa.Column("user_id", _NAME, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("asset", _NAME, primary_key=True),
        sa.Column("opening", sa.BigInteger, nullable=False),
        sa.Column("closing", sa.BigInteger, nullable=False),
        sa.Column("average", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["user_id", "day"], ["days.user_id", "days.day"]),
        sa.CheckConstraint("opening >= 0 AND closing >= 0 AND average >= 0", name="holdings_are_not_negative"),
        *_integer_checks(op, "opening", "closing", "average"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rewards",
        sa.Column("user_id", _NAME, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("asset", _NAME, primary_key=True),
        sa.Column("minimum", sa.Text, nullable=False),
        sa.Column("cap", sa.Text, nullable=False),
        sa.Column("apr", sa.Text, nullable=False),
        sa.Column("reward", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "day", "asset"], ["snapshots.user_id", "snapshots.day", "snapshots.asset"]
        ),
        sa.CheckConstraint(
            "(outcome IN ('earned', 'capped')) = (reward > 0) AND reward >= 0", name="zero_has_a_reason"
        ),
        *_integer_checks(op, "reward"),
        sqlite_with_rowid=False,
        comment="One reward per user, day and asset (I3), with the terms it was computed with.",
    )


def _is_sqlite(op: Operations) -> bool:
    return op.get_context().dialect.name == "sqlite"


def _integer_checks(op: Operations, *columns: str) -> list[sa.CheckConstraint]:
    if not _is_sqlite(op):
        return []
    return [
        sa.CheckConstraint(f"{column} IS NULL OR typeof({column}) = 'integer'", name=f"{column}_is_integer")
        for column in columns
    ]


def _create_unique_index(op: Operations, name: str, table: str, columns: list[str], *, where: str) -> None:
    op.create_index(
        name, table, columns, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )


def _refuse(op: Operations, table: str, action: str, *, when: str = "", why: str) -> None:
    name = f"{table}_no_{action.lower()}"
    condition = f" WHEN ({when})" if when else ""
    if _is_sqlite(op):
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {action} ON {table}{condition} BEGIN SELECT RAISE(ABORT, '{why}'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{why}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {action} ON {table} FOR EACH ROW{condition} EXECUTE FUNCTION {name}()"
    )
