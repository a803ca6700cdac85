"""Our own settings, from SOFT_STAKING_* variables. Temporal's connection has its own standard ones."""

import base64
import binascii
import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL

from contract.errors import ServiceError
from contract.recollection import DAYS_PER_RUN, DAYS_PER_RUN_MAX
from staking.days import SPREAD_MAX

LOOPBACK = "127.0.0.1"
"""The address of a process that only this machine may reach."""
DEFAULT_PORT = 8080
"""The port of the pages."""
DEFAULT_UI_PORT = 8233
"""The port of the web UI of an embedded Temporal server."""
DEFAULT_CODEC_PORT = 8235
SESSION_SECRET_LENGTH_MIN = 32
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
KEY_BYTES = 32
KEY_ADVICE = "32 random bytes in base64, as `openssl rand -base64 32` prints them"
_PAYLOAD_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SHIPPED_PROGRAM_FILE = Path(__file__).with_name("program.toml")


def _separated(text: object) -> object:
    if not isinstance(text, str):
        return text
    return [ip_network(part.strip()) for part in text.split(",") if part.strip()]


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_separated)]
"""Addresses and networks, which are separated by commas in a variable."""


class BadConfiguration(ServiceError):
    """Something is configured that cannot be used; the message is one sentence."""


class Settings(BaseSettings):
    """Each field is a variable: ``data_dir`` is SOFT_STAKING_DATA_DIR."""

    model_config = SettingsConfigDict(env_prefix="SOFT_STAKING_", extra="ignore", hide_input_in_errors=True)

    data_dir: Path = Field(default=Path(".soft-staking"))
    """Where an embedded installation keeps its ledger and its Temporal server's state."""
    spread: timedelta = Field(default=timedelta(), ge=timedelta(), le=SPREAD_MAX)
    """Over how long after a boundary the loops of all users wake, in seconds or as 1:30:00; at most 7 h."""
    days_per_run: int = Field(default=DAYS_PER_RUN, ge=1, le=DAYS_PER_RUN_MAX)
    """Accrual days until a user's workflow continues as a new run, for workflows that start from now on; 1 to
    30."""
    database_url: str = ""
    """The ledger, as a database URL; empty: ledger.db in data_dir."""
    prepared_statements: bool = False
    """Whether PostgreSQL keeps prepared statements for this process: only where no pooler stands between."""
    events_kept_days: int = Field(default=90, ge=1, le=3_650)
    """How many days `events prune` keeps events for systems outside."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """How a worker or server logs; auto means text on a terminal, and otherwise JSON."""
    log_level: Literal["", "DEBUG", "INFO", "WARNING", "ERROR"] = ""
    """The lowest level that is logged; empty means INFO in JSON, with a line for every credited day, and
    WARNING in text."""

    key_encryption_key: str = Field(default="", repr=False)
    """Base64 of the 32 bytes under which HMAC secrets are encrypted; empty: a file in data_dir, if the ledger is
    embedded."""
    trusted_proxies: Networks = ()
    """The proxies whose X-Forwarded-For says who a request is from."""
    weight_per_minute: int = Field(default=12_000, ge=50)
    """How much weight an address, and a key, may use in a minute of the API that existing clients speak."""
    calls_per_minute: int = Field(default=6_000, ge=1)
    """How many calls of a token, or of an address without a valid token, the API for product services allows in
    a minute."""
    webhook_networks: Networks = ()
    """Networks that are not public and to which webhooks may be sent all the same, also without TLS."""
    kafka_brokers: str = ""
    """The Kafka brokers that are asked first, as HOST:PORT, separated by commas."""
    kafka_security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    """How Kafka's brokers are spoken with, in Kafka's own words; ssl is TLS."""
    kafka_ca_file: Path | None = None
    """The certificates (PEM) by which Kafka's brokers are known; otherwise those of the system."""
    kafka_certificate_file: Path | None = None
    """This client's own certificate (PEM), where the brokers want one."""
    kafka_key_file: Path | None = None
    """The key of that certificate (PEM)."""
    kafka_key_password: SecretStr = SecretStr("")
    """The password of that key, if it has one."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How this client proves who it is, with sasl_plaintext and sasl_ssl."""
    kafka_sasl_username: str = ""
    """Its name there."""
    kafka_sasl_password: SecretStr = SecretStr("")
    """Its password there."""
    gateway_peers: Networks = ()
    """The gateway that is believed about who asks."""
    gateway_user_header: str = "X-User-Id"
    """The header in which the gateway says who asks."""
    gateway_region_header: str = "X-User-Region"
    """The header in which it says where that person lives: an ISO 3166-1 or 3166-2 code."""
    session_secret: SecretStr = SecretStr("")
    """The secret that signs the sessions of the pages. If it is empty, session.key in data_dir is used, and made
    if it is missing."""
    payload_keys: SecretStr = SecretStr("")
    """The keys under which Temporal's payloads are encrypted, as ID:KEY, separated by commas, the newest first;
    empty means that they are not encrypted."""

    @field_validator("spread", mode="before")
    @classmethod
    def _may_be_seconds(cls, spread: object) -> object:
        # A variable is always text, and pydantic takes seconds as a number only.
        return int(spread) if isinstance(spread, str) and spread.isdecimal() else spread

    @field_validator("gateway_user_header", "gateway_region_header")
    @classmethod
    def _is_a_header(cls, name: str) -> str:
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name[:64]!r} is not the name of a header such as X-User-Id")
        return name

    @field_validator("session_secret")
    @classmethod
    def _is_long_enough(cls, secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value()) < SESSION_SECRET_LENGTH_MIN:
            raise ValueError(f"a secret has at least {SESSION_SECRET_LENGTH_MIN} characters")
        return secret

    @field_validator("payload_keys")
    @classmethod
    def _are_payload_keys(cls, keys: SecretStr) -> SecretStr:
        _payload_keys(keys.get_secret_value())
        return keys

    @property
    def payload_keys_by_id(self) -> dict[str, bytes]:
        """The keys of payloads by their ids; the first one encrypts. Empty if nothing is encrypted."""
        return _payload_keys(self.payload_keys.get_secret_value())

    @property
    def ledger_url(self) -> str:
        """The ledger's database URL."""
        return self.database_url or sqlite_url(self.data_dir / "ledger.db")


def sqlite_url(file: Path) -> str:
    """The database URL of a file, whatever its name is. In a URL the characters %, ? and # have a meaning of
    their own."""
    return URL.create("sqlite", database=str(file.absolute())).render_as_string()


def faults_of_settings(error: ValidationError) -> list[str]:
    """A sentence for each setting that was refused, with the name of its variable."""
    return [
        f"SOFT_STAKING_{str(fault['loc'][0]).upper()}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    ]


def decoded_key(text: str) -> bytes:
    """The key of 256 bits in a base64 text. Raises ValueError, whose message never contains the text."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"it must be {KEY_ADVICE}")
    return key


def _payload_keys(text: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for number, part in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        key_id, colon, key = (word.strip() for word in part.partition(":"))
        # The part before the colon is not secret; without a colon all of it may be.
        if not colon or not _PAYLOAD_KEY_ID.fullmatch(key_id):
            raise ValueError(
                f"key {number} is not ID:KEY with an ID of 1 to 64 letters, digits, dots, dashes or underscores; "
                "a new key is printed by: starter.py payload-keys new"
            )
        if key_id in keys:
            raise ValueError(f"two keys have the id {key_id!r}, and a payload names its key by the id")
        try:
            keys[key_id] = decoded_key(key)
        except ValueError as error:
            raise ValueError(f"the key {key_id!r} is not a key: {error}") from None
    return keys
