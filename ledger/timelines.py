"""How an account's balance went on after an instant, and whether it allows a change that arrives late (I2)."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Select, func, literal_column, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.bulks import Changed
from ledger.database.exact_sums import exact_sum, from_exact_sum
from ledger.database.schema import accounts, instant_of, postings
from ledger.errors import AccountFull, InsufficientBalance
from staking.money import MAX_ACCOUNT_UNITS, format_amount


class Later(NamedTuple):
    """The sum of what was posted in one asset after an instant, in units, and the least and the most that the sum
    was on the way."""

    total: int
    least: int
    most: int


@dataclass(frozen=True)
class _Step:
    """What an account's postings of an instant add, or those of all instants from one on."""

    instant: int
    """The instant, or the first of the instants, as it is stored."""
    adds: Later


@dataclass
class Timeline:
    """What was posted to an account after some instant, in the order in which it counts."""

    _steps: list[_Step] = field(default_factory=list[_Step])

    def add(self, instant: int, change: int) -> None:
        """Adds what counts from an instant: what counts from one instant acts together."""
        place = bisect_right(self._steps, instant, key=lambda step: step.instant)
        if place and self._steps[place - 1].instant == instant:
            total, least, most = self._steps[place - 1].adds
            if least == most:  # This is the change of this instant alone.
                total += change
                self._steps[place - 1] = _Step(instant, Later(total, total, total))
                return
        self._steps.insert(place, _Step(instant, Later(change, change, change)))

    def add_later(self, first: int, later: Later) -> None:
        """Adds what counts from an instant and from later ones; all are later than what was added before."""
        self._steps.append(_Step(first, later))

    def held_from(self, instant: int, balance: int) -> tuple[int, int]:
        """The least and the most that is held from an instant on. ``balance`` is held in the end; all in units."""
        least = most = holding = balance
        for step in reversed(self._steps):
            if step.instant <= instant:
                break
            holding -= step.adds.total
            least = min(least, holding, holding + step.adds.least)
            most = max(most, holding, holding + step.adds.most)
        return least, most


def check_held(changed: Changed, held: tuple[int, int], change: int, instant: int) -> None:
    """I2, in words, for a change in units that counts from an instant; ``held`` is the least and the most since.

    Raises InsufficientBalance or AccountFull if a holding would leave its range.
    """
    (user_id, asset), (least, most) = changed, held
    since = instant_of(instant).isoformat().replace("+00:00", "Z")
    if least + change < 0:
        raise InsufficientBalance(
            f"user {user_id}'s {asset} balance was {format_amount(least)} at the lowest since {since}, when this "
            f"happened, which does not allow {format_amount(change)}"
        )
    if most + change > MAX_ACCOUNT_UNITS:
        raise AccountFull(
            f"user {user_id}'s {asset} balance was {format_amount(most)} at the highest since {since}, when this "
            f"happened; {format_amount(change)} more would pass the 90 billion that an account can hold"
        )


async def read_timelines(
    connection: AsyncConnection, account_ids: Collection[int], first: int, last: int
) -> dict[int, Timeline]:
    """For each account, what was posted after ``first``: one step for each instant up to ``last``, and the sums of
    what is later."""
    found: defaultdict[int, Timeline] = defaultdict(Timeline)
    of_accounts = accounts.c.account_id.in_(account_ids)
    instant = type_coerce(postings.c.effective_at, BigInteger)
    if first < last:
        for row in await connection.execute(by_instant(of_accounts, instant > first, instant <= last)):
            found[row.account_id].add(row.instant, from_exact_sum(row))
    for row in await connection.execute(later(of_accounts, instant > last)):
        adds = Later(from_exact_sum(row), int(row.least), int(row.most))
        found[row.account_id].add_later(row.first_instant, adds)
    return found


def by_instant(*conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """A row for each account of a user, and instant, with what it changes."""
    instant = type_coerce(postings.c.effective_at, BigInteger)
    account = (accounts.c.account_id, accounts.c.user_id, accounts.c.asset)
    return (
        select(*account, instant.label("instant"), *exact_sum(postings.c.amount))
        .join_from(accounts, postings, postings.c.account_id == accounts.c.account_id)
        .where(*conditions)
        .group_by(*account, postings.c.effective_at)
    )


def later(*conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """A row for each account of a user, with what some instants add: in the end, and least and most on the way.

    What is added by an instant is the difference of two holdings, which fits 64 bits, and so do its halves.
    """
    instants = by_instant(*conditions).subquery("instants")
    high, low = (
        func.sum(half).over(partition_by=instants.c.account_id, order_by=instants.c.instant)
        for half in (instants.c.sum_high, instants.c.sum_low)
    )
    so_far = select(instants, (high * literal_column("4294967296") + low).label("added")).subquery("so_far")
    account = (so_far.c.account_id, so_far.c.user_id, so_far.c.asset)
    return select(
        *account,
        func.min(so_far.c.instant).label("first_instant"),
        func.min(so_far.c.added).label("least"),
        func.max(so_far.c.added).label("most"),
        func.sum(so_far.c.sum_high).label("sum_high"),
        func.sum(so_far.c.sum_low).label("sum_low"),
    ).group_by(*account)
