"""Each recall of a user's state is counted, so that what a run asks that recalled before can be refused."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "6"
down_revision = "5"


def upgrade(op: Operations) -> None:
    op.add_column("users", sa.Column("generation", sa.BigInteger, nullable=False, server_default="0"))
