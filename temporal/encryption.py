"""Encryption of what the service stores in Temporal, so whoever keeps histories need not be able to read them."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverter,
    PayloadCodec,
    PayloadConverter,
)

from contract.errors import ServiceError
from temporal.payloads import PYDANTIC

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
_NONCE_BYTES = 12
_FAILURE_BYTES_MAX = 3_000
"""A limit below the 4 KiB that Temporal keeps of an activity's failure, since encryption adds some bytes."""
_FAILURE_MESSAGE_LENGTH_MAX, _STACK_TRACE_LENGTH_MAX = 1_500, 600
_VARIABLE = "SOFT_STAKING_PAYLOAD_KEYS"


class PayloadUnreadable(ServiceError):
    """A payload cannot be decrypted. The message is a sentence for the operator, without any content."""


class PayloadEncryption(PayloadCodec):
    """AES-256-GCM over whole payloads, their metadata included.

    ``keys`` are 256 bits each, by their ids. The first one encrypts, all of them decrypt; without any, payloads
    pass as they are. A payload names its key in its metadata, and cannot be decrypted under another name. What
    was never encrypted is read as it is, since histories are older than the decision to encrypt.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = _ciphers(keys) if keys else {}
        self._encrypts_under = next(iter(keys), None)

    @property
    def encrypts(self) -> bool:
        """Whether there is a key to encrypt under."""
        return self._encrypts_under is not None

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypts each payload with a random nonce of its own, if there is a key."""
        return [self._sealed(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypts each payload that is encrypted. Raises PayloadUnreadable."""
        return [self._opened(payload) for payload in payloads]

    def _sealed(self, payload: Payload) -> Payload:
        key_id = self._encrypts_under
        if key_id is None:
            return payload
        nonce = secrets.token_bytes(_NONCE_BYTES)
        encrypted = self._ciphers[key_id].encrypt(
            nonce, payload.SerializeToString(), _authenticated(key_id.encode())
        )
        return Payload(metadata={"encoding": ENCODING, KEY_ID: key_id.encode()}, data=nonce + encrypted)

    def _opened(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        from cryptography.exceptions import InvalidTag  # as below

        key_id = payload.metadata.get(KEY_ID, b"")
        name = key_id.decode(errors="replace")[:64]
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise PayloadUnreadable(
                f"a payload is encrypted under the key {name!r}, which is not among those of {_VARIABLE}: "
                "add it there, after the first"
            )
        nonce, encrypted = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, encrypted, _authenticated(key_id)))
        except (InvalidTag, ValueError, DecodeError):
            raise PayloadUnreadable(
                f"a payload cannot be decrypted: it was changed since it was encrypted, or {_VARIABLE} has "
                f"another key under the id {name!r}"
            ) from None


class BriefFailures(DefaultFailureConverter):
    """What failures say becomes payloads, which are encrypted as every other is.

    Of a failure that is too large Temporal keeps what it can read, which of these is nothing. So they are brief:
    the end of the stack trace, and only as many causes as there is room for. The worker's log has all of it.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Does what the base class does, which calls this for each cause, and makes the failure brief."""
        super().to_failure(exception, payload_converter, failure)
        said = {
            "message": failure.message[:_FAILURE_MESSAGE_LENGTH_MAX],
            "stack_trace": failure.stack_trace[-_STACK_TRACE_LENGTH_MAX:],
        }
        failure.encoded_attributes.CopyFrom(payload_converter.to_payload(said))
        failure.message = "Encoded failure"
        failure.stack_trace = ""
        while failure.ByteSize() > _FAILURE_BYTES_MAX and failure.HasField("cause"):
            _without_last_cause(failure)


def _without_last_cause(failure: Failure) -> None:
    while failure.cause.HasField("cause"):
        failure = failure.cause
    failure.ClearField("cause")


def data_converter(keys: Mapping[str, bytes]) -> DataConverter:
    """The pydantic data converter. With keys it encrypts payloads, and what failures say."""
    converter = replace(PYDANTIC, payload_codec=PayloadEncryption(keys))
    if not keys:
        # The codec stays in place. So a process without the keys says so when it meets an encrypted payload.
        return converter
    return replace(converter, failure_converter_class=BriefFailures)


def is_encrypted(client: Client) -> bool:
    """Whether a client, and so its worker, encrypts what it sends. Search attributes are never encrypted."""
    codec = client.data_converter.payload_codec
    return isinstance(codec, PayloadEncryption) and codec.encrypts


def _ciphers(keys: Mapping[str, bytes]) -> "dict[str, AESGCM]":
    # Imported here, since importing cryptography takes longer than many commands.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return {key_id: AESGCM(key) for key_id, key in keys.items()}


def _authenticated(key_id: bytes) -> bytes:
    """The metadata that an encrypted payload shows, which nobody can change unnoticed. The rest is encrypted."""
    return ENCODING + b"\0" + key_id
