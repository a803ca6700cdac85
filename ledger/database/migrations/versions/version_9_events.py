"""Events for systems outside, and how far each of them has read."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "9"
down_revision = "8"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KINDS = (
    "'enrolment.began', 'enrolment.ended', 'reward.credited', 'reward.reversed', 'movement.refused', "
    "'program.applied', 'day.delayed'"
)
_WHY = "events are written once"


def upgrade(op: Operations) -> None:
    op.create_table(
        "events",
        sa.Column("event_number", _ID, primary_key=True),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("user_id", _NAME),
        sa.Column("day", sa.Integer),
        sa.Column("about", sa.Text),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("entry_id", sa.BigInteger),
        sa.Column("late", sa.Boolean),
        sa.Column("data", sa.Text),
        sa.CheckConstraint(f"kind IN ({_KINDS})", name="event_kind"),
        sa.CheckConstraint("(kind = 'reward.credited') = (data IS NULL)", name="event_has_its_data"),
        comment="What systems outside are told, in this order. The lines of a credit are in rewards.",
    )
    is_of_a_delayed_day = sa.text("kind = 'day.delayed'")
    op.create_index(
        "one_event_of_a_delayed_day",
        "events",
        ["user_id", "day"],
        unique=True,
        sqlite_where=is_of_a_delayed_day,
        postgresql_where=is_of_a_delayed_day,
    )
    op.create_table(
        "event_readers",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("read_through", sa.BigInteger, nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        comment="Systems that read events: each has had all of them up to a number.",
    )
    if op.get_context().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, '{_WHY}'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION events_no_update() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_WHY}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER events_no_update BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION events_no_update()"
    )
