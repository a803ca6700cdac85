"""An import is known as a whole: its entries, and from when to when it knows each user."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "7"
down_revision = "6"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade(op: Operations) -> None:
    op.create_table(
        "imports",
        sa.Column("import_number", _ID, primary_key=True),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("zone", sa.Text, nullable=False),
        sa.Column("answer", sa.Text),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("undone_at", sa.BigInteger),
        comment="Exports that were imported. Without finished_at: interrupted, and a part is in the journal.",
    )
    op.create_index("imports_of_a_content", "imports", ["digest"])
    op.create_table(
        "import_spans",
        sa.Column("import_number", _ID, sa.ForeignKey("imports.import_number"), primary_key=True),
        sa.Column("user_id", _NAME, primary_key=True),
        sa.Column("first_instant", sa.BigInteger, nullable=False),
        sa.Column("last_instant", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        comment="From which instant to which an import knows a user's movements.",
    )
    op.create_index("imports_of_a_user", "import_spans", ["user_id"])
    # Without a foreign key: SQLite adds no column that has one.
    op.add_column("entries", sa.Column("import_number", sa.BigInteger))
    of_an_import = sa.text("import_number IS NOT NULL")
    op.create_index(
        "entries_of_an_import",
        "entries",
        ["import_number"],
        sqlite_where=of_an_import,
        postgresql_where=of_an_import,
    )
    elsewhen = sa.text("occurred_at IS NOT NULL")
    op.create_index(
        "entries_by_occurrence",
        "entries",
        ["user_id", "occurred_at"],
        sqlite_where=elsewhen,
        postgresql_where=elsewhen,
    )
