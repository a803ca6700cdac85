"""Every act of an operator, what users are told of it, and the formula of each reward."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "5"
down_revision = "4"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KINDS = (
    "'hold', 'release', 'deactivate', 'retry', 'resume', 'activate', 'reverse', 'adjust', 'fund', "
    "'program_apply', 'program_pause', 'program_resume', 'key_create', 'key_revoke', 'token_create', "
    "'token_revoke', 'import', 'import_undo'"
)
_KINDS_THAT_NEED_NO_REASON = (
    "'fund', 'program_apply', 'key_create', 'key_revoke', 'token_create', 'token_revoke', 'import'"
)
_IS_KNOWN = f"kind IN ({_KINDS})"
_HAS_A_REASON = f"reason IS NOT NULL OR kind IN ({_KINDS_THAT_NEED_NO_REASON})"
_COMMENT = "What operators did, for a user or for nobody. Held: the last of hold and release is a hold."


def upgrade(op: Operations) -> None:
    op.add_column("entries", sa.Column("tell", sa.Text))
    op.add_column("enrolments", sa.Column("end_operator", sa.Text))
    op.add_column("enrolments", sa.Column("end_tell", sa.Text))
    op.execute(
        "UPDATE enrolments SET end_operator = "
        "(SELECT operator FROM acts WHERE act_id = 'deactivate/' || enrolments.enrolment_id)"
    )
    op.add_column("rewards", sa.Column("formula", sa.Integer, nullable=False, server_default="1"))
    if op.get_context().dialect.name == "sqlite":
        _make_acts_anew(op)
    else:
        _widen_acts(op)
    _add_acts_that_were_recorded_elsewhere(op)


def _add_acts_that_were_recorded_elsewhere(op: Operations) -> None:
    """Corrections and back-dated activations kept their operator and reason before they were acts."""
    op.execute(
        """INSERT INTO acts (act_id, user_id, kind, operator, reason, recorded_at, subject)
           SELECT act_id, user_id, kind, operator, reason, recorded_at, subject
           FROM (SELECT 'reverse/' || entry_id AS act_id, user_id, 'reverse' AS kind, operator, reason,
                        recorded_at, 'entry ' || reverses AS subject
                 FROM entries WHERE kind = 'reversal'
                 UNION ALL
                 SELECT 'adjust/' || entry_id, user_id, 'adjust', operator, reason,
                        recorded_at, 'entry ' || entry_id
                 FROM entries WHERE kind = 'adjustment'
                 UNION ALL
                 SELECT 'activate/' || enrolment_id, user_id, 'activate', operator, operator_reason,
                        recorded_at, NULL
                 FROM enrolments WHERE operator IS NOT NULL) AS recorded
           ORDER BY recorded_at, act_id"""
    )


def _widen_acts(op: Operations) -> None:
    op.alter_column("acts", "user_id", nullable=True)
    op.alter_column("acts", "reason", nullable=True)
    op.add_column("acts", sa.Column("subject", sa.Text))
    op.add_column("acts", sa.Column("tell", sa.Text))
    op.drop_constraint("act_kind", "acts")
    op.create_check_constraint("act_kind", "acts", _IS_KNOWN)
    op.create_check_constraint("act_has_a_reason", "acts", _HAS_A_REASON)
    op.create_table_comment("acts", _COMMENT)
    op.create_table_comment(
        "rewards", "One reward per user, day and asset (I3), with the terms and the formula it was computed with."
    )


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
        "INSERT INTO acts_anew (act_number, act_id, user_id, kind, operator, reason, recorded_at) "
        "SELECT act_number, act_id, user_id, kind, operator, reason, recorded_at FROM acts ORDER BY act_number"
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
