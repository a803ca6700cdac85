"""Decides what becomes of each movement of a feed. Pure functions of what the ledger knows; nothing here reads or
writes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from ledger.accounts import SPOT, Account, check_range
from ledger.bulks import Changed
from ledger.database.schema import instant_of
from ledger.errors import AccountFull, InsufficientBalance
from ledger.feed.reading import Arrived, ReadMovement, Reason
from ledger.timelines import Timeline, check_held
from staking.money import MAX_ACCOUNT_UNITS, format_amount

INSUFFICIENT_BALANCE = "insufficient_balance"
"""The code of a movement that the balance does not allow."""
GROUP_REFUSED = "group_refused"
"""The code of a movement that is refused because another movement of its group is."""
Status: TypeAlias = Literal["posted", "repeated", "refused"]


class RecordedMovement(NamedTuple):
    """What the journal has recorded under a movement's id. ``effective_at`` is the instant from which it
    counts."""

    kind: str
    user_id: str | None
    asset: str
    amount: int
    occurred_at: int
    note: str | None
    effective_at: int

    def is_of(self, movement: ReadMovement) -> bool:
        """Whether the recorded entry has the same content as the movement."""
        asked = (movement.user_id, movement.asset, movement.amount, movement.occurred_at)
        return asked == (self.user_id, self.asset, self.amount, self.occurred_at) and (
            (movement.kind, movement.note) == (self.kind, self.note)
        )

    def __str__(self) -> str:
        tied = f", {self.note}" if self.note else ""
        return (
            f"a {self.kind} of {format_amount(self.amount)} {self.asset} for user {self.user_id} at "
            f"{_shown(self.occurred_at)}{tied}"
        )


class MovementOutcome(NamedTuple):
    """What became of a movement."""

    movement_id: str
    status: Status
    counts_from: datetime | None = None
    """None if the movement was refused."""
    reason: Reason | None = None
    """None unless the movement was refused."""


@dataclass
class FeedFacts:
    """What the ledger knows of the users and ids of some movements. Each decision brings it up to date."""

    closed_through: dict[str, int]
    """For each user, the end of the closed days, before which nothing can count (I4)."""
    latest: dict[str, int]
    """For each user, from when the latest movement counts."""
    balances: dict[Changed, int]
    """The balance of each account that exists, in units."""
    recorded: dict[str, RecordedMovement]
    """The recorded entries by movement id."""
    misspelt: dict[str, str]
    """For each asset code that is misspelt, why no account is opened under it."""
    timelines: defaultdict[Changed, Timeline] | None = None
    """Of the accounts, since the first instant from which any movement counts that came late. None where a
    movement that came late counts from its user's latest."""

    def counts_from(self, legs: Sequence[ReadMovement]) -> int:
        """The instant from which movements that happen together count."""
        instant = self.happened(legs)
        if self.timelines is not None:
            return instant
        return max(instant, *(self.latest[leg.user_id] for leg in legs))

    def happened(self, legs: Sequence[ReadMovement]) -> int:
        """When movements happened that happen together, or the end of the closed days if that is later."""
        return max(max(leg.occurred_at, self.closed_through[leg.user_id]) for leg in legs)

    def held_from(self, changed: Changed, instant: int) -> tuple[int, int]:
        """The least and the most units that an account holds from an instant on."""
        balance = self.balances.get(changed, 0)
        if self.timelines is None:
            return balance, balance
        return self.timelines[changed].held_from(instant, balance)


def come_late(facts: FeedFacts, movements: Sequence[Arrived]) -> Iterator[tuple[ReadMovement, int]]:
    """The movements that happened before their user's latest, and when each happened; those in closed days at
    their end. What is recorded already is not among them."""
    if _come_in_order(facts, movements):
        return
    latest = dict(facts.latest)
    for places in _units(movements):
        legs = [
            leg
            for leg in (movements[place].read for place in places)
            if isinstance(leg, ReadMovement) and leg.movement_id not in facts.recorded
        ]
        if not legs:
            continue
        instant = facts.happened(legs)
        for leg in legs:
            if instant < latest[leg.user_id]:
                yield leg, instant
        latest |= {leg.user_id: max(latest[leg.user_id], instant) for leg in legs}


def _come_in_order(facts: FeedFacts, movements: Sequence[Arrived]) -> bool:
    """Whether it is plain that none comes late: there are no groups, and each happened at its user's latest or
    later. So it is with nearly all movements of a feed, which should cost as little as possible."""
    latest = dict(facts.latest)
    for movement in movements:
        read = movement.read
        if movement.sent.group is not None:
            return False
        if isinstance(read, ReadMovement):
            instant = max(read.occurred_at, facts.closed_through[read.user_id])
            if instant < latest[read.user_id]:
                return False
            latest[read.user_id] = instant
    return True


@dataclass
class Decided:
    """What was decided about some movements: the outcomes in the order of the movements, and the movements to be
    posted in the order in which they are posted."""

    outcomes: list[MovementOutcome] = field(default_factory=list[MovementOutcome])
    to_post: list[tuple[ReadMovement, int]] = field(default_factory=list[tuple[ReadMovement, int]])
    """Each movement with the instant from which it counts."""


def decide(facts: FeedFacts, movements: Sequence[Arrived]) -> Decided:
    """Decides about movements one after the other. Each decision takes the earlier ones into account.

    A group is decided at the position of its last leg. All of its legs count from one instant: the latest one from
    which any of them could count. So nobody ever sees a holding that has only some of them.
    """
    decided = Decided()
    outcomes: dict[int, MovementOutcome] = {}
    for places in _units(movements):
        outcomes |= zip(places, _decide_unit(facts, [movements[place] for place in places], decided), strict=True)
    decided.outcomes = [outcomes[place] for place in range(len(movements))]
    return decided


def _units(movements: Sequence[Arrived]) -> list[list[int]]:
    """The positions of the movements that are decided together: one movement, or all legs of a group. A group
    stands at the position of its last leg."""
    units: dict[str | int, list[int]] = {}
    for place, movement in enumerate(movements):
        if (group := movement.sent.group) is None:
            units[place] = [place]
        else:
            units[group] = [*units.pop(group, ()), place]
    return list(units.values())


def _decide_unit(facts: FeedFacts, legs: Sequence[Arrived], decided: Decided) -> list[MovementOutcome]:
    fresh, faults = _sorted_out(facts, legs)
    if not faults:
        faults = _against_the_balances(facts, fresh)
    if faults:
        return [_of_a_refused_unit(facts, leg, faults) for leg in legs]
    if fresh:
        _post(facts, [*fresh.values()], decided)
    outcomes: list[MovementOutcome] = []
    for leg in legs:
        movement_id = leg.sent.movement_id
        status: Status = "posted" if fresh.pop(movement_id, None) else "repeated"
        outcomes.append(MovementOutcome(movement_id, status, instant_of(facts.recorded[movement_id].effective_at)))
    return outcomes


def _sorted_out(facts: FeedFacts, legs: Sequence[Arrived]) -> tuple[dict[str, ReadMovement], dict[str, Reason]]:
    """The legs that the journal does not have yet, by id, and what is wrong with any leg. Balances are not looked
    at here."""
    fresh: dict[str, ReadMovement] = {}
    faults: dict[str, Reason] = {}
    has_recorded = False
    for leg in legs:
        movement_id, read = leg.sent.movement_id, leg.read
        if isinstance(read, Reason):
            faults[movement_id] = read
        elif recorded := facts.recorded.get(movement_id) or _as_sent_before(fresh.get(movement_id)):
            has_recorded |= movement_id in facts.recorded
            if not recorded.is_of(read):
                faults[movement_id] = Reason(
                    "content_differs", f"the id {movement_id} is already that of something else: {recorded}"
                )
        else:
            fresh[movement_id] = read
            if (read.user_id, read.asset) not in facts.balances and read.asset in facts.misspelt:
                faults[movement_id] = Reason("asset_misspelt", facts.misspelt[read.asset])
    if has_recorded and fresh and not faults:
        faults = {
            movement_id: Reason(
                "group_recorded", f"the group {read.group} was recorded without this leg: send all legs together"
            )
            for movement_id, read in fresh.items()
        }
    return fresh, faults


def _as_sent_before(read: ReadMovement | None) -> RecordedMovement | None:
    return read and RecordedMovement(
        read.kind, read.user_id, read.asset, read.amount, read.occurred_at, read.note, read.occurred_at
    )


def _changes(fresh: Sequence[ReadMovement]) -> dict[Changed, int]:
    changes: defaultdict[Changed, int] = defaultdict(int)
    for movement in fresh:
        changes[movement.user_id, movement.asset] += movement.amount
    return changes


def _against_the_balances(facts: FeedFacts, fresh: dict[str, ReadMovement]) -> dict[str, Reason]:
    """Tests I2 for the sum of movements that happen together."""
    if not fresh:
        return {}
    faults: dict[Changed, Reason] = {}
    instant = facts.counts_from([*fresh.values()])
    for changed, change in _changes([*fresh.values()]).items():
        held = facts.held_from(changed, instant)
        if held[0] + change >= 0 and held[1] + change <= MAX_ACCOUNT_UNITS:
            continue
        try:
            check_range(Account(0, (SPOT, *changed), facts.balances.get(changed, 0)), change)
            check_held(changed, held, change, instant)
        except InsufficientBalance as error:
            faults[changed] = Reason(INSUFFICIENT_BALANCE, str(error))
        except AccountFull as error:
            faults[changed] = Reason("account_full", str(error))
    if not faults:
        return {}
    return {
        movement_id: faults[movement.user_id, movement.asset]
        for movement_id, movement in fresh.items()
        if (movement.user_id, movement.asset) in faults
    }


def _of_a_refused_unit(facts: FeedFacts, leg: Arrived, faults: dict[str, Reason]) -> MovementOutcome:
    movement_id, read = leg.sent.movement_id, leg.read
    if reason := faults.get(movement_id):
        return MovementOutcome(movement_id, "refused", reason=reason)
    recorded = facts.recorded.get(movement_id)
    if recorded and isinstance(read, ReadMovement) and recorded.is_of(read):
        return MovementOutcome(movement_id, "repeated", instant_of(recorded.effective_at))
    at_fault, reason = next(iter(faults.items()))
    sentence = f"the leg {at_fault} of its group {leg.sent.group} is refused: {reason.sentence}"
    return MovementOutcome(movement_id, "refused", reason=Reason(GROUP_REFUSED, sentence))


def _post(facts: FeedFacts, fresh: Sequence[ReadMovement], decided: Decided) -> None:
    effective_at = facts.counts_from(fresh)
    for changed, change in _changes(fresh).items():
        facts.balances[changed] = facts.balances.get(changed, 0) + change
        if facts.timelines is not None:
            facts.timelines[changed].add(effective_at, change)
    for one in fresh:
        facts.latest[one.user_id] = max(facts.latest[one.user_id], effective_at)
    for one in fresh:
        facts.recorded[one.movement_id] = RecordedMovement(
            one.kind, one.user_id, one.asset, one.amount, one.occurred_at, one.note, effective_at
        )
        decided.to_post.append((one, effective_at))


def _shown(stored: int) -> str:
    return instant_of(stored).isoformat().replace("+00:00", "Z")
