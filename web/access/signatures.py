"""Signatures of requests: HMAC-SHA256, RSA PKCS#1 v1.5 with SHA-256, and Ed25519."""

import base64
import binascii
import hashlib
import hmac
import re
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ledger.api_keys import KeyKind

_RSA_BITS = range(2048, 8192 + 1)
_HEX_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


class NotAPublicKey(ValueError):
    """A text is not a public key of the requested kind; the message says why."""


def is_hmac_signature(secret: str, payload: bytes, signature: str) -> bool:
    """Whether a text is the payload's HMAC-SHA256 in hexadecimal digits of either case."""
    if not _HEX_SHA256.fullmatch(signature):
        return False
    expected = hmac.digest(secret.encode(), payload, hashlib.sha256)
    return hmac.compare_digest(expected, bytes.fromhex(signature))


def is_public_key_signature(public_key: str, payload: bytes, signature: str) -> bool:
    """Whether a text is, in base64, the payload's signature by the owner of an RSA or Ed25519 key in PEM."""
    try:
        decoded = base64.b64decode(signature, validate=True)
        key = _loaded(public_key)
        if isinstance(key, RSAPublicKey):
            key.verify(decoded, payload, PKCS1v15(), hashes.SHA256())
        else:
            key.verify(decoded, payload)
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def check_public_key(kind: KeyKind, pem: bytes) -> str:
    """A public key as it is stored, in PEM. Raises NotAPublicKey for anything else, in particular for a private
    key."""
    if b"PRIVATE" in pem:
        raise NotAPublicKey("this is a private key, which nobody but its owner should see; give the public key")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise NotAPublicKey("this is no public key in PEM (a text with -----BEGIN PUBLIC KEY-----)") from None
    if kind is KeyKind.ED25519 and not isinstance(key, Ed25519PublicKey):
        raise NotAPublicKey("this is no Ed25519 key")
    if kind is KeyKind.RSA:
        if not isinstance(key, RSAPublicKey):
            raise NotAPublicKey("this is no RSA key")
        if key.key_size not in _RSA_BITS:
            raise NotAPublicKey(
                f"an RSA key has {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits, this one has {key.key_size}"
            )
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@lru_cache(maxsize=1024)
def _loaded(public_key: str) -> RSAPublicKey | Ed25519PublicKey:
    key = serialization.load_pem_public_key(public_key.encode())
    assert isinstance(key, RSAPublicKey | Ed25519PublicKey), "only these two kinds are recorded"
    return key
