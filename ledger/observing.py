"""What a ledger tells whoever watches it. The ledger itself counts nothing and knows no metrics."""

from collections.abc import Sequence
from typing import Literal, Protocol

from staking.models import CreditReceipt, RewardLine


class Observer(Protocol):
    """Hears of what has happened, after it has; must neither wait nor raise."""

    def transaction(self, kind: Literal["read", "write"], duration_s: float) -> None:
        """One transaction, committed or not, with its waiting for a turn and a connection."""
        ...

    def batch(self, request_count: int) -> None:
        """Requests that are answered together, in one transaction."""
        ...

    def credited(self, receipt: CreditReceipt, lines: Sequence[RewardLine]) -> None:
        """A day was credited to a user, and committed. Not told again of a repeat."""
        ...


class _Nobody:
    """Hears nothing."""

    def transaction(self, kind: Literal["read", "write"], duration_s: float) -> None:
        pass

    def batch(self, request_count: int) -> None:
        pass

    def credited(self, receipt: CreditReceipt, lines: Sequence[RewardLine]) -> None:
        pass


NOBODY: Observer = _Nobody()
