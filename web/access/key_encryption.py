"""How the secrets of HMAC keys are kept: encrypted with AES-256-GCM, under a key that is not in the ledger."""

import base64
import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from settings import KEY_ADVICE, KEY_BYTES, BadConfiguration, Settings, decoded_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_VARIABLE = "SOFT_STAKING_KEY_ENCRYPTION_KEY"


class EncryptionKeyUnusable(BadConfiguration):
    """Secrets can be neither kept nor read; the message is a sentence for the operator."""


class KeyEncryption:
    """Seals and opens secrets under the key that the settings name.

    Without the setting an embedded installation keeps a key of its own in the data folder, which is made with the
    first secret. Every method raises EncryptionKeyUnusable if there is no usable key.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check_setting(self) -> None:
        """Raises EncryptionKeyUnusable if the setting is given and is not a key, so that the error comes at the
        start."""
        if self._settings.key_encryption_key:
            _ = self._cipher

    def seal(self, secret: str, api_key: str) -> bytes:
        """The secret, encrypted for this one key. In the row of another key it cannot be decrypted."""
        if self._is_kept_in_a_file:
            _make_unless_there(self._file)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), api_key.encode())

    def open(self, sealed: bytes, api_key: str) -> str:
        """The secret."""
        from cryptography.exceptions import InvalidTag  # as below

        nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, encrypted, api_key.encode()).decode()
        except InvalidTag:
            raise EncryptionKeyUnusable(
                f"a secret in the ledger was not encrypted under the key that {self._where} gives"
            ) from None

    @property
    def _file(self) -> Path:
        return self._settings.data_dir / "key-encryption.key"

    @property
    def _is_kept_in_a_file(self) -> bool:
        return not self._settings.key_encryption_key and self._settings.ledger_url.startswith("sqlite")

    @property
    def _where(self) -> str:
        return str(self._file) if self._is_kept_in_a_file else _VARIABLE

    @cached_property
    def _cipher(self) -> "AESGCM":
        # Imported here, since importing cryptography takes longer than many commands.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(_decoded(self._text(), self._where))

    def _text(self) -> str:
        if not self._is_kept_in_a_file:
            if not self._settings.key_encryption_key:
                raise EncryptionKeyUnusable(
                    f"{_VARIABLE} is not set, and HMAC secrets are encrypted under it: set it to {KEY_ADVICE}"
                )
            return self._settings.key_encryption_key
        try:
            return self._file.read_text(encoding="ascii", errors="replace")
        except OSError as error:
            raise EncryptionKeyUnusable(
                f"the key {self._file}, under which HMAC secrets are encrypted, cannot be read: {error.strerror}"
            ) from None


def _decoded(text: str, where: str) -> bytes:
    try:
        return decoded_key(text)
    except ValueError as error:
        raise EncryptionKeyUnusable(f"{where} is no key to encrypt secrets with: {error}") from None


def _make_unless_there(file: Path) -> None:
    """The file is written completely under another name first. So two processes that make it at the same time
    use the same key."""
    if file.exists():
        return
    try:
        new = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(new, file)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    except FileNotFoundError:
        raise EncryptionKeyUnusable(
            f"there is no folder {file.parent.absolute()} for the key under which HMAC secrets are encrypted: "
            f"change to the folder of your installation, or set SOFT_STAKING_DATA_DIR, or {_VARIABLE}"
        ) from None
    except OSError as error:
        raise EncryptionKeyUnusable(
            f"the key {file}, under which HMAC secrets are encrypted, cannot be made: {error.strerror}"
        ) from None
