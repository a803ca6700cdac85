"""Entries say who corrected what and why; a day's movements are read from an index alone."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "2"
down_revision = "1"


def upgrade(op: Operations) -> None:
    # Columns are added and no table is made anew, so that a large journal is upgraded in seconds.
    entry_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("entries", sa.Column("operator", sa.Text))
    op.add_column("entries", sa.Column("reason", sa.Text))
    op.add_column(
        "entries",
        sa.Column("reverses", entry_id, sa.ForeignKey("entries.entry_id")),
        inline_references=True,
    )
    op.create_index(
        "one_reversal",
        "entries",
        ["reverses"],
        unique=True,
        sqlite_where=sa.text("reverses IS NOT NULL"),
        postgresql_where=sa.text("reverses IS NOT NULL"),
    )
    op.drop_index("postings_of_an_account", "postings")
    op.create_index("postings_of_an_account", "postings", ["account_id", "effective_at", "amount"])
    op.drop_index("one_spot_account", "accounts")
    op.create_index("one_spot_account", "accounts", ["user_id", "asset"], unique=True)
    if op.get_context().dialect.name == "postgresql":
        op.create_table_comment(
            "entries",
            "The journal. Never updated, never deleted; a correction is an entry that reverses another.",
        )
