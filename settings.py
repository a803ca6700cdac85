"""Our own settings, from SOFT_STAKING_* variables. Temporal's connection has its own standard ones."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SHIPPED_PROGRAM_FILE = Path(__file__).with_name("program.toml")


class Settings(BaseSettings):
    """Each field is a variable: ``data_dir`` is SOFT_STAKING_DATA_DIR."""

    model_config = SettingsConfigDict(env_prefix="SOFT_STAKING_", extra="ignore")

    data_dir: Path = Field(default=Path(".soft-staking"))
    """Where an embedded installation keeps its ledger and its Temporal server's state."""
    database_url: str = ""
    """The ledger, as a database URL; empty: ledger.db in data_dir."""

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

    @property
    def ledger_url(self) -> str:
        """The ledger's database URL."""
        return self.database_url or f"sqlite:///{self.data_dir / 'ledger.db'}"
