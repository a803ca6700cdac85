"""The credit: one user's day is paid out of the pools, whole and once (rules 10, 11 and 13)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from contract.requests import CreditRequest
from ledger.accounts import POOL, SPOT, check_range
from ledger.database.rows import Row
from ledger.day.facts import CreditFacts
from ledger.errors import OutOfOrder
from ledger.journal import Leg, NewEntry, Spot
from ledger.locking import LockedUser
from ledger.outbox import NewEvent
from staking.day import Credit, check_averages, check_is_accrual_day, credit, credited_before, paid
from staking.days import end_of
from staking.models import CreditReceipt, PoolShort


def repeated_or_refused(request: CreditRequest, facts: CreditFacts | None) -> CreditReceipt | None:
    """The first receipt, to a repeat; None if the day is to be credited now.

    Raises OutOfOrder for a day that is not closed or earns nothing, ContentDiffers for other content than was
    recorded, AccountFull if the user's account cannot take the reward.
    """
    day, user_id = request.rewards.day, request.user_id
    if facts is None:
        raise OutOfOrder(f"{day} is not closed for user {user_id}; take its snapshot first")
    check_is_accrual_day(request, facts.closed)
    receipt = credited_before(request, facts.closed)
    if receipt is None:
        check_averages(request, facts.closed)
        for asset, reward in paid(request.rewards).items():
            check_range(facts.spot[SPOT, user_id, asset], reward)
    return receipt


@dataclass(frozen=True)
class Crediting:
    """A day that is credited, and its rows."""

    request: CreditRequest
    facts: CreditFacts
    user: LockedUser
    credit: Credit

    @property
    def entry(self) -> NewEntry | None:
        """Pool to user, for every asset that earned; None where nothing did."""
        if not self.credit.paid:
            return None
        legs = [
            leg
            for asset, reward in self.credit.paid.items()
            for leg in (Leg(POOL, asset, -reward), Leg(Spot(self.user), asset, reward))
        ]
        return NewEntry(
            kind="reward",
            legs=legs,
            effective_at=self.user.effective(end_of(self.request.rewards.day)),
            recorded_at=self.credit.credited_at,
            user_id=self.user.user_id,
        )

    @property
    def rewards(self) -> list[Row]:
        """The rows for the table ``rewards``."""
        return [
            {
                "user_id": self.user.user_id,
                "day": self.request.rewards.day,
                "asset": line.asset,
                "minimum": line.minimum,
                "cap": line.cap,
                "apr": line.apr,
                "reward": line.reward,
                "outcome": line.outcome.value,
                "formula": line.formula,
            }
            for line in self.request.rewards.lines
        ]

    def mark(self, entry_id: int | None) -> Row:
        """The values that are set in the day's record in the table ``days``."""
        return {
            "user_id": self.user.user_id,
            "day": self.request.rewards.day,
            "credited_at": self.credit.credited_at,
            "late": self.credit.late,
            "entry_id": entry_id,
        }

    def event(self, entry_id: int | None) -> NewEvent:
        """What systems outside are told. Its lines are those of ``rewards``."""
        return NewEvent(
            "reward.credited",
            self.credit.credited_at,
            self.user.user_id,
            self.request.rewards.day,
            entry_id=entry_id,
            late=self.credit.late,
        )

    def receipt(self, entry_id: int | None) -> CreditReceipt:
        """The answer."""
        return CreditReceipt(
            day=self.request.rewards.day,
            credited_at=self.credit.credited_at,
            late=self.credit.late,
            entry_id=entry_id,
        )


def crediting(
    request: CreditRequest, facts: CreditFacts, user: LockedUser, pool: Mapping[str, int], now: datetime
) -> Crediting | PoolShort:
    """Credits a day that may be credited, out of what is left in the pools: units by asset."""
    decided = credit(request.rewards, facts.closed, pool, max(request.now, now))
    return decided if isinstance(decided, PoolShort) else Crediting(request, facts, user, decided)
