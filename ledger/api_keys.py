"""Keys of users' own programs: to whom each belongs, what checks its signatures, and the profile with which it
activates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_words
from ledger.acts import write_act
from ledger.database.engine import Ledger
from ledger.database.one_go import BoundStatement, ReadyStatement
from ledger.database.schema import AnyRow, acceptances, api_key_acceptances, api_keys, enrolments
from ledger.errors import UnknownKey
from ledger.locking import lock_user


class KeyKind(StrEnum):
    """How requests made with a key are signed."""

    HMAC = "hmac"
    RSA = "rsa"
    ED25519 = "ed25519"


@dataclass(frozen=True)
class ApiKey:
    """A key of a user's own programs. Its secret is never stored here as plain text."""

    api_key: str
    user_id: str
    kind: KeyKind
    read_only: bool
    region: str | None
    """ISO 3166-1 or 3166-2. None if no region was given or recorded; then the key cannot activate."""
    created_at: datetime
    sealed_secret: bytes | None = None
    """The encrypted secret of an HMAC key; None for the other kinds."""
    public_key: str | None = None
    """The public key in PEM; None for an HMAC key."""
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Profile:
    """What a user had stated when a key was made. An activation with that key states the same."""

    region: str | None
    documents: Mapping[str, str]
    """Accepted versions by document name."""


_KEYS_IN_USE = select(api_keys).where(
    api_keys.c.api_key.in_(bindparam("keys", expanding=True)), api_keys.c.revoked_at.is_(None)
)


_STILL_IN_USE = ReadyStatement(_KEYS_IN_USE.with_only_columns(api_keys.c.api_key))


async def add_key(
    ledger: Ledger, key: ApiKey, documents: Mapping[str, str], *, operator: str, reason: str | None = None
) -> None:
    """Records a new key, with the document versions its user has accepted."""
    check_words(operator, reason)
    async with ledger.write() as connection:
        await lock_user(connection, key.user_id)
        await connection.execute(
            api_keys.insert().values(
                api_key=key.api_key,
                user_id=key.user_id,
                kind=key.kind.value,
                sealed_secret=key.sealed_secret,
                public_key=key.public_key,
                read_only=key.read_only,
                region=key.region,
                created_at=key.created_at,
            )
        )
        if documents:
            accepted = [
                {"api_key": key.api_key, "document": name, "version": version}
                for name, version in documents.items()
            ]
            await connection.execute(api_key_acceptances.insert(), accepted)
        await write_act(
            connection,
            "key_create",
            f"key_create/{key.api_key}",
            operator=operator,
            reason=reason,
            recorded_at=key.created_at,
            user_id=key.user_id,
            subject=f"key {key.api_key}",
        )


async def key_in_use(connection: AsyncConnection, api_key: str) -> ApiKey | None:
    """The key, unless it is unknown or revoked."""
    return (await keys_in_use(connection, [api_key])).get(api_key)


async def keys_in_use(connection: AsyncConnection, asked: Sequence[str]) -> dict[str, ApiKey]:
    """The keys among some that exist and are not revoked."""
    return {row.api_key: _key(row) for row in await connection.execute(_KEYS_IN_USE, {"keys": asked})}


def still_in_use_asked(keys: Sequence[str]) -> BoundStatement:
    """Which of these keys are not revoked, to be read in one go. Nothing else of a key ever changes."""
    return _STILL_IN_USE.bound(keys=keys)


async def profile_of(connection: AsyncConnection, key: ApiKey) -> Profile:
    """What an activation with the key states."""
    accepted = await connection.execute(
        select(api_key_acceptances.c.document, api_key_acceptances.c.version).where(
            api_key_acceptances.c.api_key == key.api_key
        )
    )
    return Profile(key.region, {row.document: row.version for row in accepted})


async def profile_of_latest_enrolment(connection: AsyncConnection, user_id: str) -> Profile:
    """What a user stated at the latest activation; empty for a user who was never enrolled."""
    latest = (
        await connection.execute(
            select(enrolments.c.enrolment_id, enrolments.c.region)
            .where(enrolments.c.user_id == user_id)
            .order_by(enrolments.c.activated_at.desc(), enrolments.c.recorded_at.desc())
            .limit(1)
        )
    ).one_or_none()
    if latest is None:
        return Profile(None, {})
    accepted = await connection.execute(
        select(acceptances.c.document, acceptances.c.version).where(
            acceptances.c.enrolment_id == latest.enrolment_id
        )
    )
    return Profile(latest.region, {row.document: row.version for row in accepted})


async def all_keys(connection: AsyncConnection, user_id: str | None = None) -> list[ApiKey]:
    """Every key ever made, also revoked ones, the oldest first; if a user is named, only that user's."""
    query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.api_key)
    if user_id is not None:
        query = query.where(api_keys.c.user_id == user_id)
    return [_key(row) for row in await connection.execute(query)]


async def revoke_key(
    ledger: Ledger, api_key: str, *, operator: str, reason: str | None = None, now: datetime
) -> ApiKey:
    """Takes a key out of use for good. A repeat gets the first answer. Raises UnknownKey."""
    check_words(operator, reason)
    of_this_key = select(api_keys).where(api_keys.c.api_key == api_key)
    async with ledger.write() as connection:
        before = (await connection.execute(of_this_key)).one_or_none()
        if before is None:
            raise UnknownKey("there is no such key; the keys are listed by: starter.py keys list")
        await lock_user(connection, before.user_id)
        revoked = await connection.execute(
            update(api_keys)
            .where(api_keys.c.api_key == api_key, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=now)
        )
        if revoked.rowcount:
            await write_act(
                connection,
                "key_revoke",
                f"key_revoke/{api_key}",
                operator=operator,
                reason=reason,
                recorded_at=now,
                user_id=before.user_id,
                subject=f"key {api_key}",
            )
        return _key((await connection.execute(of_this_key)).one())


def _key(row: AnyRow) -> ApiKey:
    return ApiKey(
        api_key=row.api_key,
        user_id=row.user_id,
        kind=KeyKind(row.kind),
        read_only=row.read_only,
        region=row.region,
        created_at=row.created_at,
        sealed_secret=row.sealed_secret,
        public_key=row.public_key,
        revoked_at=row.revoked_at,
    )
