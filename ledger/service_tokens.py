"""Bearer tokens of product services: what each may do. Only a hash of a token is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_words
from ledger.acts import write_act
from ledger.database.engine import Ledger
from ledger.database.one_go import BoundStatement, ReadyStatement
from ledger.database.schema import AnyRow, service_tokens
from ledger.errors import UnknownToken


class Scope(StrEnum):
    """What a token may do."""

    READ = "read"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    DECODE = "decode"
    MOVE = "move"
    EVENTS = "events"


@dataclass(frozen=True)
class ServiceToken:
    """A product service's token. ``token_id`` is not secret: it serves to find and revoke the token."""

    token_id: str
    name: str
    scopes: frozenset[Scope]
    token_hash: bytes
    """SHA-256 of the whole token."""
    created_at: datetime
    revoked_at: datetime | None = None


_TOKENS_IN_USE = select(service_tokens).where(
    service_tokens.c.token_id.in_(bindparam("ids", expanding=True)), service_tokens.c.revoked_at.is_(None)
)


_STILL_IN_USE = ReadyStatement(_TOKENS_IN_USE.with_only_columns(service_tokens.c.token_id))


async def add_token(ledger: Ledger, token: ServiceToken, *, operator: str, reason: str | None = None) -> None:
    """Records a new token."""
    check_words(operator, reason)
    async with ledger.write() as connection:
        await connection.execute(
            service_tokens.insert().values(
                token_id=token.token_id,
                name=token.name,
                scopes=" ".join(sorted(token.scopes)),
                token_hash=token.token_hash,
                created_at=token.created_at,
            )
        )
        await write_act(
            connection,
            "token_create",
            f"token_create/{token.token_id}",
            operator=operator,
            reason=reason,
            recorded_at=token.created_at,
            subject=_subject(token.name, token.token_id),
        )


async def tokens_in_use(connection: AsyncConnection, asked: Sequence[str]) -> dict[str, ServiceToken | None]:
    """Each of some tokens by its id; None if it is unknown or revoked."""
    found = {row.token_id: _token(row) for row in await connection.execute(_TOKENS_IN_USE, {"ids": asked})}
    return {token_id: found.get(token_id) for token_id in asked}


def still_in_use_asked(token_ids: Sequence[str]) -> BoundStatement:
    """Which of these tokens are not revoked, to be read in one go. Nothing else of a token ever changes."""
    return _STILL_IN_USE.bound(ids=token_ids)


async def all_tokens(connection: AsyncConnection) -> list[ServiceToken]:
    """Every token ever made, also revoked ones, the oldest first."""
    query = select(service_tokens).order_by(service_tokens.c.created_at, service_tokens.c.token_id)
    return [_token(row) for row in await connection.execute(query)]


async def revoke_token(
    ledger: Ledger, token_id: str, *, operator: str, reason: str | None = None, now: datetime
) -> ServiceToken:
    """Takes a token out of use for good. A repeat gets the first answer. Raises UnknownToken."""
    check_words(operator, reason)
    async with ledger.write() as connection:
        revoked = await connection.execute(
            update(service_tokens)
            .where(service_tokens.c.token_id == token_id, service_tokens.c.revoked_at.is_(None))
            .values(revoked_at=now)
        )
        query = select(service_tokens).where(service_tokens.c.token_id == token_id)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise UnknownToken("there is no such token; the tokens are listed by: starter.py tokens list")
        if revoked.rowcount:
            await write_act(
                connection,
                "token_revoke",
                f"token_revoke/{token_id}",
                operator=operator,
                reason=reason,
                recorded_at=now,
                subject=_subject(row.name, token_id),
            )
        return _token(row)


def _subject(name: str, token_id: str) -> str:
    return f"token {name} ({token_id})"


def _token(row: AnyRow) -> ServiceToken:
    return ServiceToken(
        token_id=row.token_id,
        name=row.name,
        scopes=frozenset(Scope(scope) for scope in row.scopes.split()),
        token_hash=row.token_hash,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
