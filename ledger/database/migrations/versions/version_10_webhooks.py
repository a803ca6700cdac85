"""Webhooks: addresses to which events are sent."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "10"
down_revision = "9"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KINDS = (
    "'hold', 'release', 'deactivate', 'retry', 'resume', 'activate', 'reverse', 'adjust', 'fund', "
    "'program_apply', 'program_pause', 'program_resume', 'key_create', 'key_revoke', 'token_create', "
    "'token_revoke', 'import', 'import_undo', 'movement_dismiss', 'source_release', 'source_remove', "
    "'webhook_add', 'webhook_remove', 'webhook_replay'"
)
_KINDS_THAT_NEED_NO_REASON = (
    "'fund', 'program_apply', 'key_create', 'key_revoke', 'token_create', 'token_revoke', 'import', "
    "'webhook_add', 'webhook_remove'"
)
_IS_KNOWN = f"kind IN ({_KINDS})"
_HAS_A_REASON = f"reason IS NOT NULL OR kind IN ({_KINDS_THAT_NEED_NO_REASON})"


def upgrade(op: Operations) -> None:
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", _NAME, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("kinds", sa.Text, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("failing_since", sa.BigInteger),
        sa.Column("tries", sa.BigInteger, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("removed_at", sa.BigInteger),
        comment="Addresses to which events are sent. How far each is stands in event_readers.",
    )
    if op.get_context().dialect.name == "sqlite":
        _make_acts_anew(op)
        return
    for name, condition in (("act_kind", _IS_KNOWN), ("act_has_a_reason", _HAS_A_REASON)):
        op.drop_constraint(name, "acts")
        op.create_check_constraint(name, "acts", condition)


def _make_acts_anew(op: Operations) -> None:
    """SQLite changes no constraint of a table that is there."""
    op.create_table(
        "acts_anew",
        sa.Column("act_number", _ID, primary_key=True),
        sa.Column("act_id", _NAME, nullable=False, unique=True),
        sa.Column("user_id", _NAME, sa.ForeignKey("users.user_id")),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("tell", sa.Text),
        sa.CheckConstraint(_IS_KNOWN, name="act_kind"),
        sa.CheckConstraint(_HAS_A_REASON, name="act_has_a_reason"),
    )
    op.execute(
        "INSERT INTO acts_anew (act_number, act_id, user_id, kind, operator, reason, recorded_at, subject, tell) "
        "SELECT act_number, act_id, user_id, kind, operator, reason, recorded_at, subject, tell "
        "FROM acts ORDER BY act_number"
    )
    op.drop_table("acts")
    op.rename_table("acts_anew", "acts")
    op.create_index("acts_of_a_user", "acts", ["user_id", "act_number"])
    op.create_index("acts_of_a_kind", "acts", ["kind", "user_id", "act_number"])
    for action, why in (("UPDATE", "acts are written once"), ("DELETE", "acts are never deleted")):
        op.execute(
            f"CREATE TRIGGER acts_no_{action.lower()} BEFORE {action} ON acts "
            f"BEGIN SELECT RAISE(ABORT, '{why}'); END"
        )
