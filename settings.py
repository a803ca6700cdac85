"""Our own settings, from SOFT_STAKING_* variables. Temporal's connection has its own standard ones."""

import re
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from staking.days import SPREAD_MAX

SESSION_SECRET_LENGTH_MIN = 32
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
SHIPPED_PROGRAM_FILE = Path(__file__).with_name("program.toml")


class Settings(BaseSettings):
    """Each field is a variable: ``data_dir`` is SOFT_STAKING_DATA_DIR."""

    model_config = SettingsConfigDict(env_prefix="SOFT_STAKING_", extra="ignore")

    data_dir: Path = Field(default=Path(".soft-staking"))
    """Where an embedded installation keeps its ledger and its Temporal server's state."""
    spread: timedelta = Field(default=timedelta(), ge=timedelta(), le=SPREAD_MAX)
    """Over how long after a boundary the loops of all users wake, in seconds or as 1:30:00; at most 7 h."""
    database_url: str = ""
    """The ledger, as a database URL; empty: ledger.db in data_dir."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """How a worker or server logs; auto: text on a terminal, else JSON."""
    log_level: Literal["", "DEBUG", "INFO", "WARNING", "ERROR"] = ""
    """From which level on; empty: INFO in JSON, with a line for every credited day, and WARNING in text."""

    key_encryption_key: str = Field(default="", repr=False)
    """Base64 of the 32 bytes under which HMAC secrets are encrypted; empty: a file in data_dir, if the ledger is
    embedded."""
    trusted_proxies: str = ""
    """Addresses or networks, with a comma between, whose X-Forwarded-For says who a request is from."""
    weight_per_minute: int = Field(default=12_000, ge=50)
    """How much weight an address, and a key, may use in a minute of the API that existing clients speak."""
    calls_per_minute: int = Field(default=6_000, ge=1)
    """How many calls of a token, or of an address without a valid one, the API for product services takes in a
    minute."""
    gateway_peers: str = ""
    """The addresses or networks, separated by commas, of the gateway whose word on who asks is believed."""
    gateway_user_header: str = "X-User-Id"
    """The header in which the gateway says who asks."""
    gateway_region_header: str = "X-User-Region"
    """The header in which it says where that person lives: an ISO 3166-1 or 3166-2 code."""
    session_secret: SecretStr = SecretStr("")
    """What sessions of the pages are signed with; empty: session.key in data_dir, made where it is missing."""

    @field_validator("gateway_peers")
    @classmethod
    def _are_networks(cls, peers: str) -> str:
        for peer in filter(None, (part.strip() for part in peers.split(","))):
            ip_network(peer)
        return peers

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

    @property
    def ledger_url(self) -> str:
        """The ledger's database URL."""
        return self.database_url or f"sqlite:///{self.data_dir / 'ledger.db'}"
