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

    @property
    def ledger_url(self) -> str:
        """The ledger's database URL."""
        return self.database_url or f"sqlite:///{self.data_dir / 'ledger.db'}"
