"""How far each partition of a topic was read, what it said of its sources, and messages that say nothing."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "11"
down_revision = "10"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LOWERED = "NEW.next_offset < OLD.next_offset"
_ONLY_RISES = "how far a partition was read only rises"


def upgrade(op: Operations) -> None:
    op.create_table(
        "feed_offsets",
        sa.Column("consumer_group", _NAME, primary_key=True),
        sa.Column("topic", _NAME, primary_key=True),
        sa.Column("partition_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.Column("moved_at", sa.BigInteger, nullable=False),
        comment="How far each partition of a topic was read, written in the transaction that posts what it said. "
        "0: nothing was read.",
    )
    op.create_table(
        "feed_marks",
        sa.Column("consumer_group", _NAME, primary_key=True),
        sa.Column("topic", _NAME, primary_key=True),
        sa.Column("source", _NAME, primary_key=True),
        sa.Column("partition_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("complete_through", sa.BigInteger, nullable=False),
        comment="How far each partition of a topic is complete, by its source's own word. The lowest counts.",
    )
    op.create_table(
        "refused_messages",
        sa.Column("message_number", _ID, primary_key=True),
        sa.Column("topic", _NAME, nullable=False),
        sa.Column("partition_number", sa.BigInteger, nullable=False),
        sa.Column("message_offset", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("refused_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("topic", "partition_number", "message_offset"),
        comment="Messages of a topic that say nothing that can be posted, with the beginning of what they say.",
    )
    if op.get_context().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER feed_offsets_no_update BEFORE UPDATE ON feed_offsets WHEN ({_LOWERED}) "
            f"BEGIN SELECT RAISE(ABORT, '{_ONLY_RISES}'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION feed_offsets_no_update() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_ONLY_RISES}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER feed_offsets_no_update BEFORE UPDATE ON feed_offsets FOR EACH ROW WHEN ({_LOWERED}) "
        "EXECUTE FUNCTION feed_offsets_no_update()"
    )
