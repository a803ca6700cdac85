"""Signatures: known examples, the three kinds, and texts that must not pass for a signature."""

import base64
import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from web_api import ED25519_KEY, RSA_KEY, PrivateKey, ed25519_of, hmac_of, private_pem, public_pem, rsa_of

from ledger.api_keys import KeyKind
from settings import Settings
from web.access.key_encryption import EncryptionKeyUnusable, KeyEncryption
from web.access.signatures import NotAPublicKey, check_public_key, is_hmac_signature, is_public_key_signature

SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
PAYLOAD = (
    "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1"
    "&recvWindow=5000&timestamp=1499827319559"
)
SIGNATURE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
RSA_PEM, ED25519_PEM = public_pem(RSA_KEY).decode(), public_pem(ED25519_KEY).decode()
KEY_IN_BASE64 = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize("signature", [SIGNATURE, SIGNATURE.upper()])
def test_the_exchange_s_published_example_is_signed(signature: str) -> None:
    assert is_hmac_signature(SECRET, PAYLOAD.encode(), signature)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "c8db",
        SIGNATURE[:-1],
        f"{SIGNATURE}0",
        f"{SIGNATURE[:-1]}2",
        f"{SIGNATURE}\n",
        "é" * 64,
        "0x" + SIGNATURE,
    ],
)
def test_anything_else_is_no_hmac_signature(signature: str) -> None:
    assert not is_hmac_signature(SECRET, PAYLOAD.encode(), signature)


def test_an_hmac_signature_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda one, other: compared.append((one, other)) or real(one, other)
    )

    assert not is_hmac_signature(SECRET, PAYLOAD.encode(), "0" * 64)

    assert compared == [(bytes.fromhex(SIGNATURE), bytes(32))]


SIGNED = [(RSA_PEM, rsa_of(PAYLOAD)), (ED25519_PEM, ed25519_of(PAYLOAD))]


@pytest.mark.parametrize(("public_key", "signature"), SIGNED, ids=["rsa", "ed25519"])
def test_a_signature_is_of_its_payload_and_key_alone(public_key: str, signature: str) -> None:
    (other,) = (pem for pem, _ in SIGNED if pem != public_key)
    wrong = [
        signature[:-4],
        "",
        "?",
        hmac_of(SECRET, PAYLOAD),
        f"{signature} ",
        base64.b64encode(b"x" * 64).decode(),
    ]

    assert is_public_key_signature(public_key, PAYLOAD.encode(), signature)
    assert not is_public_key_signature(public_key, f"{PAYLOAD}0".encode(), signature)
    assert not is_public_key_signature(other, PAYLOAD.encode(), signature)
    assert [text for text in wrong if is_public_key_signature(public_key, PAYLOAD.encode(), text)] == []


@pytest.mark.parametrize(("kind", "key"), [(KeyKind.RSA, RSA_KEY), (KeyKind.ED25519, ED25519_KEY)])
def test_a_public_key_is_kept_as_its_owner_wrote_it(kind: KeyKind, key: PrivateKey) -> None:
    assert check_public_key(kind, public_pem(key)) == public_pem(key).decode()


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize(
    ("kind", "pem", "sentence"),
    [
        (KeyKind.RSA, private_pem(RSA_KEY).encode(), "a private key"),
        (KeyKind.ED25519, private_pem(ED25519_KEY).encode(), "a private key"),
        (KeyKind.RSA, b"", "no public key in PEM"),
        (KeyKind.ED25519, b"\xff", "no public key in PEM"),
        (KeyKind.RSA, ED25519_PEM.encode(), "no RSA key"),
        (KeyKind.ED25519, RSA_PEM.encode(), "no Ed25519 key"),
        (KeyKind.ED25519, _pem(ec.generate_private_key(ec.SECP256R1())), "no Ed25519 key"),
        (KeyKind.RSA, _pem(rsa.generate_private_key(65537, 1024)), "has 2048 to 8192 bits, this one has 1024"),
    ],
)
def test_what_is_no_public_key_of_its_kind_is_refused_in_a_sentence(
    kind: KeyKind, pem: bytes, sentence: str
) -> None:
    with pytest.raises(NotAPublicKey, match=sentence):
        check_public_key(kind, pem)


def test_a_secret_is_kept_encrypted_and_opens_for_its_own_key_only(tmp_path: Path) -> None:
    encryption = KeyEncryption(Settings(data_dir=tmp_path))
    sealed = encryption.seal(SECRET, "a key")

    assert SECRET.encode() not in sealed
    assert encryption.seal(SECRET, "a key") != sealed
    assert KeyEncryption(Settings(data_dir=tmp_path)).open(sealed, "a key") == SECRET
    with pytest.raises(EncryptionKeyUnusable):
        encryption.open(sealed, "another key")
    with pytest.raises(EncryptionKeyUnusable):
        encryption.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), "a key")


def test_an_embedded_installation_makes_its_own_encryption_key_for_its_owner_s_eyes_only(tmp_path: Path) -> None:
    KeyEncryption(Settings(data_dir=tmp_path)).seal(SECRET, "a key")

    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_setting_is_used_in_place_of_a_file(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, key_encryption_key=KEY_IN_BASE64)
    sealed = KeyEncryption(settings).seal(SECRET, "a key")

    assert KeyEncryption(settings).open(sealed, "a key") == SECRET
    assert [*tmp_path.iterdir()] == []
    assert KEY_IN_BASE64 not in repr(settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"key_encryption_key": "?"},
            "SOFT_STAKING_KEY_ENCRYPTION_KEY is no key to encrypt secrets with: .*openssl",
        ),
        ({"key_encryption_key": KEY_IN_BASE64[:-4]}, "must be 32 random bytes in base64"),
        ({"database_url": "postgresql://nobody@nowhere/none"}, "SOFT_STAKING_KEY_ENCRYPTION_KEY is not set"),
    ],
)
def test_a_missing_or_malformed_encryption_key_is_named_in_a_sentence(
    settings: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    encryption = KeyEncryption(Settings(data_dir=tmp_path, **settings))

    with pytest.raises(EncryptionKeyUnusable, match=sentence):
        encryption.seal(SECRET, "a key")
    with pytest.raises(EncryptionKeyUnusable, match=sentence):
        encryption.open(bytes(80), "a key")


def test_an_encryption_key_that_is_gone_is_not_made_anew_to_open_an_old_secret(tmp_path: Path) -> None:
    sealed = KeyEncryption(Settings(data_dir=tmp_path)).seal(SECRET, "a key")
    (tmp_path / "key-encryption.key").unlink()

    with pytest.raises(EncryptionKeyUnusable, match="cannot be read: No such file"):
        KeyEncryption(Settings(data_dir=tmp_path)).open(sealed, "a key")
