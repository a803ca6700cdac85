"""credit: pays an accrual day's rewards out of the pools, whole and once (rules 10, 11 and 13)."""

from dataclasses import dataclass

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.day.together import credit_day
from ledger.engine import Ledger
from staking.models import CreditReceipt, CreditRequest, PoolShort
from staking.steps import CREDIT


@dataclass(frozen=True)
class CreditStep:
    """The credit step."""

    ledger: Ledger

    @activity.defn(name=CREDIT.name)
    async def credit(self, request: CreditRequest) -> CreditReceipt | PoolShort:
        """The receipt, or which pools are short. Idempotent by user and day."""
        with refusals_are_final():
            return await credit_day(self.ledger, request)
