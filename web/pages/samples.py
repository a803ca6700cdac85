"""Sample users of the demonstration, one at every stage of the journey."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.client import Client

from ledger.database.engine import Ledger
from ledger.movements import post_movement
from ledger.pools import fund_pool
from ledger.programs import program_on
from ledger.reading.standing import Standing, standing_of
from staking.days import ONE_DAY, day_of, first_accrual_day, start_of
from staking.models import Activation, BackDating
from staking.money import parse_amount
from staking.program import Program
from temporal.client import SoftStakingClient, send_activation
from web.pages.wording import day_text

REGION = "FR"
_POOL_TOKENS = "1000000"
_OPERATOR = "samples"


@dataclass(frozen=True)
class Sample:
    """A user, what moved in their account, and how far they went. Times count back from the first start."""

    user_id: str
    title: str
    movements: Sequence[tuple[timedelta, str, str]]
    """How long ago, the asset and the signed tokens."""
    activated_ago: timedelta | None = None
    """How long ago the user activated. Zero is just now, by the user; anything more is dated back."""
    is_stopped: bool = False


def _ago(days: int, hours: int = 0) -> timedelta:
    return timedelta(days=days, hours=hours)


SAMPLES = (
    Sample(
        "ada",
        "Holds too little",
        [(_ago(9), "SOL", "0.4"), (_ago(9), "USDT", "250"), (_ago(4), "BNB", "0.12")],
    ),
    Sample(
        "ben",
        "Sees a grey tag",
        [
            (_ago(12), "SOL", "12"),
            (_ago(12), "BNB", "2.14"),
            (_ago(6), "USDT", "1840.25"),
            (_ago(3), "BTC", "0.05"),
        ],
    ),
    Sample(
        "cleo",
        "Activated today",
        [(_ago(20), "SUI", "2400"), (_ago(8), "SOL", "6.5"), (_ago(2), "USDT", "92.5")],
        activated_ago=timedelta(),
    ),
    Sample(
        "dan",
        "Thirty days of rewards",
        [
            (_ago(40), "SOL", "120"),
            (_ago(40), "BNB", "14.5"),
            (_ago(40), "ADA", "150"),
            (_ago(39), "USDT", "3120.75"),
            (_ago(25, 7), "SOL", "80"),
            (_ago(21, 3), "ADA", "-60"),
            (_ago(18, 11), "SUI", "9000"),
            (_ago(14, 2), "SOL", "-95.5"),
            (_ago(12), "AXS", "60000"),
            (_ago(9, 5), "AXS", "-59998"),
            (_ago(6, 9), "SOL", "40"),
            (_ago(3, 4), "ADA", "400"),
        ],
        activated_ago=_ago(31),
    ),
    Sample(
        "eve",
        "Stopped",
        [(_ago(20), "NEAR", "840"), (_ago(20), "SOL", "18"), (_ago(5), "USDT", "61")],
        activated_ago=_ago(14),
        is_stopped=True,
    ),
)


async def make_samples(ledger: Ledger, client: Client, now: datetime) -> None:
    """Brings each sample user to their stage. Users that are in the ledger already are left as they are."""
    async with ledger.read() as connection:
        program = (await program_on(connection, day_of(now))).program
    for asset in program.assets:
        await fund_pool(
            ledger,
            asset,
            parse_amount(_POOL_TOKENS),
            operator=_OPERATOR,
            reason="the pools of the sample users",
            now=now,
            idempotency_key=f"samples: {asset}",
        )
    for sample in SAMPLES:
        standing = await standing_of(ledger, sample.user_id, now=now)
        if not standing.holdings and standing.receipt is None:
            await _move(ledger, sample, now)
        if sample.activated_ago is not None and standing.receipt is None:
            await _activate(client, sample, program, now)
            if sample.is_stopped:
                await SoftStakingClient(client).deactivate(sample.user_id)


def stage_text(standing: Standing, now: datetime) -> str:
    """Where a user is on the journey just now."""
    if standing.receipt is None:
        return (
            f"Not active; a grey tag on {standing.tagged_asset}" if standing.tagged_asset else "Not active; no tag"
        )
    if standing.delayed_since is not None:
        is_on = "Active" if standing.is_on else "Stopped"
        return f"{is_on}; rewards since {day_text(standing.delayed_since)} are delayed"
    if not standing.is_on:
        return "Stopped"
    first_day = first_accrual_day(standing.receipt.activated_at)
    if standing.last_credited_day is None or standing.last_credited_day < first_day:
        return "Active since today" if first_day > day_of(now) else "Active; the first reward is on its way"
    days = (standing.last_credited_day - first_day).days + 1
    return f"Active; {days} {'day' if days == 1 else 'days'} of rewards"


async def _move(ledger: Ledger, sample: Sample, now: datetime) -> None:
    noon = start_of(day_of(now)) - ONE_DAY / 2
    for number, (ago, asset, tokens) in enumerate(sample.movements, 1):
        await post_movement(
            ledger,
            sample.user_id,
            {asset: parse_amount(tokens)},
            kind="withdrawal" if tokens.startswith("-") else "deposit",
            idempotency_key=f"samples: {sample.user_id} {number}",
            occurred_at=noon - ago,
        )


async def _activate(client: Client, sample: Sample, program: Program, now: datetime) -> None:
    back_dating = None
    if sample.activated_ago:
        back_dating = BackDating(
            activated_at=now - sample.activated_ago,
            operator=_OPERATOR,
            reason="a sample user of the demonstration",
        )
    activation = Activation(region=REGION, channel="web", documents=program.documents, back_dating=back_dating)
    await send_activation(client, sample.user_id, activation, timeout=timedelta(minutes=1))
