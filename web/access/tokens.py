"""Bearer tokens of product services: how one is made, and recognised."""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Collection
from datetime import datetime

from ledger.service_tokens import Scope, ServiceToken

_TOKEN = re.compile(r"sst_([A-Za-z0-9]{12})_[A-Za-z0-9]{43}")
_ALPHABET = string.ascii_letters + string.digits
_ID_LENGTH, _SECRET_LENGTH = 12, 43
"""43 letters and digits are 256 random bits."""
_NO_HASH = bytes(32)


def random_text(length: int) -> str:
    """Letters and digits that nobody can guess."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_token(name: str, scopes: Collection[Scope], *, now: datetime) -> tuple[str, ServiceToken]:
    """A token, which is shown once, and what is kept of it."""
    token_id = random_text(_ID_LENGTH)
    text = f"sst_{token_id}_{random_text(_SECRET_LENGTH)}"
    return text, ServiceToken(token_id, name, frozenset(scopes), _hash(text), created_at=now)


def token_id_in(text: str) -> str | None:
    """The id under which a token would be found; None for a text that is not a token."""
    match = _TOKEN.fullmatch(text)
    return match and match[1]


def is_the_token(token: ServiceToken | None, text: str) -> bool:
    """Whether a text is a token in use. It takes as long for an unknown token as for a wrong one."""
    is_equal = hmac.compare_digest(_NO_HASH if token is None else token.token_hash, _hash(text))
    return is_equal and token is not None


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
