"""Who may call the API that existing clients speak: keys, signatures, permissions, and how often they may call."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.api_keys import ApiKey, KeyKind, key_in_use
from web.access.key_encryption import KeyEncryption
from web.access.rate_limits import MinuteLimit, seconds_left
from web.access.signatures import is_hmac_signature, is_public_key_signature
from web.exchange_api import errors
from web.exchange_api.signed_query import SignedQuery
from web.service import Service

WEIGHT_OF_A_CALL = 50
_API_KEY = re.compile(r"[A-Za-z0-9]{64}")
_Asked = TypeVar("_Asked")


@dataclass(frozen=True)
class Call:
    """One request while it is answered. ``now`` is UTC."""

    request: Request
    now: datetime


class SignedRequests:
    """Tests the key, the query and the signature of every request, and counts the request's weight for its key.

    Raises EncryptionKeyUnusable for a setting that cannot be read.
    """

    def __init__(self, service: Service) -> None:
        self._limit = MinuteLimit(service.settings.weight_per_minute)
        self._encryption = KeyEncryption(service.settings)
        self._encryption.check_setting()

    async def admit(
        self,
        connection: AsyncConnection,
        call: Call,
        names: tuple[str, ...],
        read: Callable[[SignedQuery], _Asked],
        *,
        changes: bool = False,
    ) -> tuple[ApiKey, _Asked]:
        """The key that signed a request, and what it asks. ``names`` are the endpoint's own parameters.

        Raises ExchangeError for the first of these that is wrong: key, parameters, timestamp, signature, the key's
        weight, permission; and EncryptionKeyUnusable if an HMAC secret cannot be read.
        """
        key = await key_in_use(connection, key_named_by(call))
        return self.admit_with(key, call, names, read, changes=changes)

    def admit_with(
        self,
        key: ApiKey | None,
        call: Call,
        names: tuple[str, ...],
        read: Callable[[SignedQuery], _Asked],
        *,
        changes: bool = False,
    ) -> tuple[ApiKey, _Asked]:
        """Like admit, with the key that the request names, read after the request came; None if it is not in
        use."""
        if key is None:
            raise errors.rejected_key()
        query = SignedQuery(call.request.scope["query_string"], names)
        asked = read(query)
        query.check_time(call.now)
        if not self._is_signed(key, query):
            raise errors.bad_signature()
        # This is not done before the signature is tested: a key is not secret, and anyone who knows it could use
        # up its limit.
        self._weigh(key, call.now)
        if changes and key.read_only:
            raise errors.not_permitted()
        return key, asked

    def _weigh(self, key: ApiKey, now: datetime) -> None:
        if self._limit.is_over(self._limit.use(key.api_key, WEIGHT_OF_A_CALL, now=now)):
            raise errors.too_much_weight(self._limit.most, seconds_left(now))

    def _is_signed(self, key: ApiKey, query: SignedQuery) -> bool:
        if key.kind is KeyKind.HMAC:
            secret = self._encryption.open(key.sealed_secret or b"", key.api_key)
            return is_hmac_signature(secret, query.payload, query.signature)
        return is_public_key_signature(key.public_key or "", query.payload, query.signature)


def key_named_by(call: Call) -> str:
    """The key that a request names, whether it exists or not. Raises ExchangeError for a text that is not a
    key."""
    text = call.request.headers.get("x-mbx-apikey", "")
    if not _API_KEY.fullmatch(text):
        raise errors.bad_key_format()
    return text
