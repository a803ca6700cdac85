"""Sessions of the pages: a signed cookie that expires, and the token that every form of a session carries."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from itsdangerous import BadData, URLSafeSerializer
from pydantic import ValidationError

from settings import SESSION_SECRET_LENGTH_MIN, BadConfiguration, Settings
from staking.models import Instant, Model, UserId

SESSION_LIFETIME = timedelta(hours=12)
_COOKIE_LENGTH_MAX = 1024
_READABLE_BY_OTHERS = 0o077


class Session(Model):
    """What a browser keeps of a visit. Signed, not secret: its owner may read all of it."""

    session_id: str
    user_id: UserId | None
    """None for a visitor of the demonstration who has not chosen a person yet."""
    region: str | None
    """Where the chosen person lives. Behind a gateway, the gateway gives this with every request."""
    expires_at: Instant


class Sessions:
    """Makes sessions and recognises its own. ``now`` is the service's clock, in UTC."""

    def __init__(self, secret: bytes, now: Callable[[], datetime]) -> None:
        self._now = now
        self._form_key = hmac.digest(secret, b"soft-staking form", "sha256")
        self._signer = URLSafeSerializer(
            secret,
            salt="soft-staking session",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def begin(self, user_id: str | None, region: str | None = None) -> Session:
        """A new session; its id is new too, so that none is carried over from an earlier visitor."""
        return Session(
            session_id=secrets.token_urlsafe(24),
            user_id=user_id,
            region=region,
            expires_at=self._now() + SESSION_LIFETIME,
        )

    def seal(self, session: Session) -> str:
        """The session as a cookie's value."""
        return self._signer.dumps(session.model_dump(mode="json"))

    def open(self, cookie: str | None) -> Session | None:
        """The session in a cookie; None for one that is missing, expired, or not signed by us."""
        if not cookie or len(cookie) > _COOKIE_LENGTH_MAX:
            return None
        try:
            session = Session.model_validate(self._signer.loads(cookie))
        except (BadData, ValidationError):
            return None
        return session if self._now() < session.expires_at else None

    def form_token(self, session: Session) -> str:
        """The token of this session's forms, which a form of another site cannot have (CSRF)."""
        return hmac.new(self._form_key, session.session_id.encode(), "sha256").hexdigest()

    def is_form_token(self, session: Session, token: str) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(self.form_token(session).encode(), token.encode())


def signing_secret(settings: Settings) -> bytes:
    """What sessions are signed with: the setting, or a file of the data folder that only its owner can read.

    Raises BadConfiguration if the folder does not exist, the file cannot be made, or others can read it.
    """
    given = settings.session_secret.get_secret_value()
    return given.encode() if given else _kept_secret(settings.data_dir / "session.key")


def _kept_secret(file: Path) -> bytes:
    try:
        if not file.exists():
            _make_secret(file)
        if file.stat().st_mode & _READABLE_BY_OTHERS:
            raise BadConfiguration(
                f"{file} signs the sessions of the pages and others can read it: remove it, and a new one is made"
            )
        secret = file.read_bytes()
    except FileNotFoundError:
        raise BadConfiguration(
            f"there is no folder {file.parent.absolute()} for the file that signs the sessions of the pages: "
            "change to the folder of your installation, or set SOFT_STAKING_DATA_DIR, or "
            "SOFT_STAKING_SESSION_SECRET"
        ) from None
    except OSError as error:
        raise BadConfiguration(
            f"{file}, which signs the sessions of the pages, cannot be used ({error.strerror}): "
            "make its folder writable, or set SOFT_STAKING_SESSION_SECRET"
        ) from None
    if len(secret) < SESSION_SECRET_LENGTH_MIN:
        raise BadConfiguration(f"{file} is too short to sign sessions with: remove it, and a new one is made")
    return secret


def _make_secret(file: Path) -> None:
    """The file is made completely or not at all, and once: two processes that start together both use the file
    of the faster one."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            file.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
