"""What a ledger reports to an observer. The ledger itself counts nothing, and does not depend on metrics."""

from collections.abc import Sequence
from typing import Literal, Protocol

from staking.models import CreditReceipt, RewardLine


class Observer(Protocol):
    """Its methods are called after something has happened. They must neither wait nor raise."""

    def transaction(self, kind: Literal["read", "write"], duration_s: float) -> None:
        """One transaction, committed or not, with its waiting for a turn and a connection."""
        ...

    def batch(self, request_count: int) -> None:
        """Requests were answered together, in one transaction."""
        ...

    def credited(self, receipt: CreditReceipt, lines: Sequence[RewardLine]) -> None:
        """A day was credited to a user, and committed. A repeat is not reported again."""
        ...


class _Nobody:
    """An observer that ignores everything."""

    def transaction(self, kind: Literal["read", "write"], duration_s: float) -> None:
        pass

    def batch(self, request_count: int) -> None:
        pass

    def credited(self, receipt: CreditReceipt, lines: Sequence[RewardLine]) -> None:
        pass


NOBODY: Observer = _Nobody()
