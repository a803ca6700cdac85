"""How a key for a user's own programs is made."""

from dataclasses import replace
from datetime import datetime

from ledger.api_keys import ApiKey, KeyKind
from web.access.key_encryption import KeyEncryption
from web.access.tokens import random_text

_LENGTH = 64
"""The length of a key and of a secret, as the exchange's clients expect it."""


def new_key(
    user_id: str,
    encryption: KeyEncryption,
    *,
    now: datetime,
    region: str | None,
    kind: KeyKind = KeyKind.HMAC,
    public_key: str | None = None,
    read_only: bool = False,
) -> tuple[ApiKey, str | None]:
    """A key, still to be recorded, and its secret if it is an HMAC key. Raises EncryptionKeyUnusable."""
    key = ApiKey(random_text(_LENGTH), user_id, kind, read_only, region, now, public_key=public_key)
    if kind is not KeyKind.HMAC:
        return key, None
    secret = random_text(_LENGTH)
    return replace(key, sealed_secret=encryption.seal(secret, key.api_key)), secret
