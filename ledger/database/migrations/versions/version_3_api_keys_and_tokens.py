"""Keys of users' own programs, and tokens of product services."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "3"
down_revision = "2"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade(op: Operations) -> None:
    op.create_table(
        "api_keys",
        sa.Column("api_key", sa.Text, primary_key=True),
        sa.Column("user_id", _NAME, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary),
        sa.Column("public_key", sa.Text),
        sa.Column("read_only", sa.Boolean, nullable=False),
        sa.Column("region", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.CheckConstraint("kind IN ('hmac', 'rsa', 'ed25519')", name="key_kind"),
        sa.CheckConstraint(
            "(kind = 'hmac') = (sealed_secret IS NOT NULL) AND (kind = 'hmac') = (public_key IS NULL)",
            name="secret_or_public_key",
        ),
        comment="Keys of users' own programs. An HMAC key's secret is encrypted under a key that is not here.",
    )
    op.create_index("api_keys_of_a_user", "api_keys", ["user_id"])
    op.create_table(
        "api_key_acceptances",
        sa.Column("api_key", sa.Text, sa.ForeignKey("api_keys.api_key"), primary_key=True),
        sa.Column("document", _NAME, primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sqlite_with_rowid=False,
        comment="The document versions that a user had accepted when the key was made; it activates with them.",
    )
    op.create_table(
        "service_tokens",
        sa.Column("token_id", _NAME, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        comment="Bearer tokens of product services: the SHA-256 of each, never the token itself.",
    )
