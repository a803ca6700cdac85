"""What feeds sent that could not be posted, how far each source is complete, and what operators do about both."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "8"
down_revision = "7"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KINDS = (
    "'hold', 'release', 'deactivate', 'retry', 'resume', 'activate', 'reverse', 'adjust', 'fund', "
    "'program_apply', 'program_pause', 'program_resume', 'key_create', 'key_revoke', 'token_create', "
    "'token_revoke', 'import', 'import_undo', 'movement_dismiss', 'source_release', 'source_remove'"
)
_KINDS_THAT_NEED_NO_REASON = (
    "'fund', 'program_apply', 'key_create', 'key_revoke', 'token_create', 'token_revoke', 'import'"
)
_IS_KNOWN = f"kind IN ({_KINDS})"
_HAS_A_REASON = f"reason IS NOT NULL OR kind IN ({_KINDS_THAT_NEED_NO_REASON})"
_LOWERED = "NEW.complete_through < OLD.complete_through"
_ONLY_RISES = "how far a source is complete only rises"


def upgrade(op: Operations) -> None:
    op.create_table(
        "refused_movements",
        sa.Column("refused_number", _ID, primary_key=True),
        sa.Column("movement_id", _NAME, nullable=False, unique=True),
        sa.Column("group_name", _NAME),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("first_refused_at", sa.BigInteger, nullable=False),
        sa.Column("last_refused_at", sa.BigInteger, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        comment="Movements of feeds that could not be posted, as they came last. One that is posted is taken off.",
    )
    of_a_group = sa.text("group_name IS NOT NULL")
    op.create_index(
        "refused_movements_of_a_group",
        "refused_movements",
        ["group_name"],
        sqlite_where=of_a_group,
        postgresql_where=of_a_group,
    )
    op.create_table(
        "sources",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("complete_through", sa.BigInteger, nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
        sa.Column("registered_at", sa.BigInteger, nullable=False),
        sa.Column("released_through", sa.BigInteger),
        comment="Feeds without whose word no day is closed for anyone. released_through: operators let days up to "
        "there close without it.",
    )
    if op.get_context().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER sources_no_update BEFORE UPDATE ON sources WHEN ({_LOWERED}) "
            f"BEGIN SELECT RAISE(ABORT, '{_ONLY_RISES}'); END"
        )
        _make_acts_anew(op)
        return
    op.execute(
        "CREATE FUNCTION sources_no_update() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_ONLY_RISES}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER sources_no_update BEFORE UPDATE ON sources FOR EACH ROW WHEN ({_LOWERED}) "
        "EXECUTE FUNCTION sources_no_update()"
    )
    op.drop_constraint("act_kind", "acts")
    op.create_check_constraint("act_kind", "acts", _IS_KNOWN)


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
