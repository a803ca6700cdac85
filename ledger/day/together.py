"""The days of many users together: the only code that knows that a day's requests are answered in batches.

A step locks its users, has the facts read, asks for each user what is decided, and writes what was decided for all
of them by the same few statements. A refusal is the answer of its own user alone.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Generic, TypeVar

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.requests import ComputeRequest, CreditRequest, FencedRequest, SnapshotRequest
from ledger.accounts import Account, AccountKey, lock_pools
from ledger.database.among import Among
from ledger.database.day_queue import Answer, Request
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.rows import insert_rows, update_rows
from ledger.database.schema import days, rewards, snapshots, users
from ledger.day import compute, credit, snapshot
from ledger.day.credit import Crediting
from ledger.day.facts import closing_facts, credit_facts, day_facts, late_sources, regions
from ledger.day.snapshot import Closing
from ledger.errors import LedgerError, NoProgram
from ledger.journal import post_to
from ledger.locking import LockedUser, lock_users
from ledger.outbox import write_events
from ledger.programs import program_of_begun_day
from staking.day import paid
from staking.days import end_of
from staking.models import CreditReceipt, EndsHere, PoolShort, Rewards, Snapshot, SourceLate

Decision = TypeVar("Decision")


async def close_day(ledger: Ledger, request: SnapshotRequest) -> Snapshot | SourceLate:
    """Closes the day for the user and fixes each program asset's opening, closing and average.

    While a source is late no day is closed, and the answer says which source it is; for some seconds from memory,
    so that the many who wait cost the database nothing. A repeat answers what was fixed.

    Raises Superseded or LedgerRestored if the run that asks acts on another recall than the user's last,
    NotEnrolled if there is no such enrolment on the day, ContentDiffers if the day belongs to another enrolment,
    OutOfOrder if the day is not over, or an earlier one of the user is still owed, NoProgram.
    """
    late = ledger.late_sources.known_of(request.day)
    if late is not None:
        return late
    return await ledger.day_queue(_close_all).answer(request.day, request)


async def compute_day(ledger: Ledger, request: ComputeRequest) -> Rewards | EndsHere:
    """The reward lines of a closed day, or that the user's region is restricted on it. It only reads.

    Neither the region of an enrolment nor the program of a day that is over ever changes, so what is in memory of
    them is not read again. Raises NotEnrolled for an unknown enrolment, or NoProgram.
    """
    in_force = ledger.program_memory.find(request.snapshot.day)
    if in_force is not None and request.region is not None:
        return compute.computed(request, in_force, request.region)
    return await ledger.day_queue(_compute_all).answer(request.snapshot.day, request)


async def credit_day(ledger: Ledger, request: CreditRequest) -> CreditReceipt | PoolShort:
    """Rules 10, 11 and 13: credits an accrual day, whole and once.

    The reward counts from the boundary that closed its day. A repeat answers the first receipt. Raises Superseded
    or LedgerRestored if the run that asks acts on another recall than the user's last, ContentDiffers for other
    content than was recorded, OutOfOrder for a day that is not closed, AccountFull if the user's account cannot
    take the reward.
    """
    return await ledger.day_queue(_credit_all).answer(request.rewards.day, request)


class _Batch(Generic[Request, Answer]):
    """Requests of different users for one day, and what each of them is answered."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.open: dict[str, Request] = {request.user_id: request for request in requests}
        """The requests without an answer, by user, in the order in which they came."""
        self.answers: dict[str, Answer | LedgerError] = {}
        """The answers so far, by user."""

    def decide(self, decide: Callable[[Request], Decision]) -> dict[str, Decision]:
        """What is decided for each user without an answer. If that is a refusal, it is the user's answer."""
        decided: dict[str, Decision] = {}
        for user_id, request in [*self.open.items()]:
            try:
                decided[user_id] = decide(request)
            except LedgerError as refusal:
                self.answer({user_id: refusal})
        return decided

    def refuse_where(self, check: Callable[[Request], None]) -> None:
        """Answers each user whose request a check refuses with that refusal."""
        self.decide(check)

    def answer(self, answers: Mapping[str, Answer | LedgerError | None]) -> None:
        """Gives users their answers, where there is one."""
        for user_id, answer in answers.items():
            if answer is not None:
                self.answers[user_id] = answer
                del self.open[user_id]


@run_again_if_it_gave_way
async def _close_all(
    ledger: Ledger, day: date, requests: Sequence[SnapshotRequest]
) -> Mapping[str, Snapshot | SourceLate | LedgerError]:
    batch = _Batch[SnapshotRequest, Snapshot | SourceLate](requests)
    async with ledger.write() as connection:
        locked = await lock_users(connection, batch.open)
        batch.refuse_where(lambda request: _check_fence(locked, request))
        now = ledger.clock()
        facts = await closing_facts(connection, day, batch.open.values(), locked)
        batch.answer(
            batch.decide(lambda request: snapshot.repeated_or_refused(request, facts.get(request.user_id), now))
        )
        if not batch.open:
            return batch.answers
        if late := await late_sources(connection, end_of(day)):
            answer = SourceLate(day=day, sources=late)
            ledger.late_sources.keep(answer)
            batch.answer(dict.fromkeys([*batch.open], answer))
            return batch.answers
        try:
            program = await program_of_begun_day(ledger, connection, day)
        except NoProgram as refusal:
            batch.answer(dict.fromkeys([*batch.open], refusal))
            return batch.answers
        before = {user_id: facts[user_id].before for user_id in batch.open}
        of_day = await day_facts(connection, day, program, before)
        closings = batch.decide(
            lambda request: snapshot.closing(
                request, facts[request.user_id], of_day[request.user_id], program, now
            )
        )
        await _write_closings(connection, day, closings)
        batch.answer({user_id: closing.snapshot for user_id, closing in closings.items()})
    return batch.answers


_RAISE_WATERMARK = (
    update(users).where(Among(users.c.user_id, "user_ids")).values(closed_through=bindparam("through"))
)


async def _write_closings(connection: AsyncConnection, day: date, closings: Mapping[str, Closing]) -> None:
    await insert_rows(connection, days, [closing.record for closing in closings.values()])
    await insert_rows(connection, snapshots, [row for closing in closings.values() for row in closing.holdings])
    await connection.execute(_RAISE_WATERMARK, {"user_ids": [*closings], "through": end_of(day)})


async def _compute_all(
    ledger: Ledger, day: date, requests: Sequence[ComputeRequest]
) -> Mapping[str, Rewards | EndsHere | LedgerError]:
    batch = _Batch[ComputeRequest, Rewards | EndsHere](requests)
    async with ledger.read() as connection:
        try:
            in_force = await program_of_begun_day(ledger, connection, day)
        except NoProgram as refusal:
            batch.answer(dict.fromkeys([*batch.open], refusal))
            return batch.answers
        region_of = await regions(connection, requests)
    batch.answer(batch.decide(lambda request: compute.computed(request, in_force, region_of.get(request.user_id))))
    return batch.answers


@run_again_if_it_gave_way
async def _credit_all(
    ledger: Ledger, day: date, requests: Sequence[CreditRequest]
) -> Mapping[str, CreditReceipt | PoolShort | LedgerError]:
    batch = _Batch[CreditRequest, CreditReceipt | PoolShort](requests)
    async with ledger.write() as connection:
        locked = await lock_users(connection, batch.open)
        batch.refuse_where(lambda request: _check_fence(locked, request))
        now = ledger.clock()
        facts = await credit_facts(connection, day, batch.open)
        batch.answer(batch.decide(lambda request: credit.repeated_or_refused(request, facts.get(request.user_id))))
        pools = await lock_pools(
            connection, {asset for request in batch.open.values() for asset in paid(request.rewards)}
        )
        left = {asset: pool.balance or 0 for (_, _, asset), pool in pools.items()}

        def credited(request: CreditRequest) -> Crediting | PoolShort:
            """Users are paid in the order of their requests. What one user is paid is not left for the next."""
            user = locked.get(request.user_id)
            assert user is not None, f"a day of user {request.user_id} is recorded, and the user is not"
            decided = credit.crediting(request, facts[request.user_id], user, left, now)
            if isinstance(decided, Crediting):
                for asset, reward in decided.credit.paid.items():
                    left[asset] -= reward
            return decided

        decided = batch.decide(credited)
        creditings = {user_id: each for user_id, each in decided.items() if isinstance(each, Crediting)}
        batch.answer({user_id: each for user_id, each in decided.items() if isinstance(each, PoolShort)})
        receipts = await _write_credits(connection, creditings, pools)
        batch.answer(receipts)
    for user_id, receipt in receipts.items():
        ledger.observer.credited(receipt, creditings[user_id].request.rewards.lines)
    return batch.answers


async def _write_credits(
    connection: AsyncConnection, creditings: Mapping[str, Crediting], pools: Mapping[AccountKey, Account]
) -> dict[str, CreditReceipt]:
    entries = {user_id: entry for user_id, each in creditings.items() if (entry := each.entry) is not None}
    entry_ids: dict[str, int] = {}
    if entries:
        accounts = dict(pools)
        for user_id in entries:
            accounts |= creditings[user_id].facts.spot
        ids = await post_to(connection, accounts, [*entries.values()])
        entry_ids = dict(zip(entries, ids, strict=True))
    await insert_rows(connection, rewards, [row for each in creditings.values() for row in each.rewards])
    marks = [each.mark(entry_ids.get(user_id)) for user_id, each in creditings.items()]
    await update_rows(connection, days, marks)
    await write_events(connection, [each.event(entry_ids.get(user_id)) for user_id, each in creditings.items()])
    return {user_id: each.receipt(entry_ids.get(user_id)) for user_id, each in creditings.items()}


def _check_fence(locked: Mapping[str, LockedUser], request: FencedRequest) -> None:
    """Refuses requests that the fence forbids. For a user who is not recorded there is no fence."""
    user = locked.get(request.user_id)
    if user is not None:
        user.check_fence(request)
        user.check_not_restored(request)
