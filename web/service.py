"""What every part of the web room is given by the composition root."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ledger.database.engine import Ledger
from settings import Settings
from temporal.client import SoftStakingClient


@dataclass(frozen=True)
class Service:
    """The service as the web uses it. Nothing in the web reads a clock of its own."""

    ledger: Ledger
    client: SoftStakingClient
    now: Callable[[], datetime]
    """UTC; the one clock of pages, signatures and sessions."""
    settings: Settings
    is_development: bool = False
    """``--dev`` on loopback: the user picker and the sample users exist only here."""
