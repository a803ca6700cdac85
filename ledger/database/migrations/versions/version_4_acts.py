"""What operators did to a user's loop: who, and why."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "4"
down_revision = "3"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade(op: Operations) -> None:
    op.create_table(
        "acts",
        sa.Column("act_number", _ID, primary_key=True),
        sa.Column("act_id", _NAME, nullable=False, unique=True),
        sa.Column("user_id", _NAME, sa.ForeignKey("users.user_id"), nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.CheckConstraint("kind IN ('hold', 'release', 'deactivate', 'retry', 'resume')", name="act_kind"),
        comment="What operators did to a user's loop, who and why. Held: the last of hold and release is a hold.",
    )
    op.create_index("acts_of_a_user", "acts", ["user_id", "act_number"])
    op.create_index("acts_of_a_kind", "acts", ["kind", "user_id", "act_number"])
    _refuse(op, "UPDATE", "acts are written once")
    _refuse(op, "DELETE", "acts are never deleted")


def _refuse(op: Operations, action: str, why: str) -> None:
    name = f"acts_no_{action.lower()}"
    if op.get_context().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {name} BEFORE {action} ON acts BEGIN SELECT RAISE(ABORT, '{why}'); END")
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{why}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(f"CREATE TRIGGER {name} BEFORE {action} ON acts FOR EACH ROW EXECUTE FUNCTION {name}()")
