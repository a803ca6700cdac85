"""Messages that were read and are not posted yet, and which of them are posted next. No clock of its own."""

from dataclasses import dataclass, field
from itertools import takewhile

from ledger.feed.messages import Mark, Message, Unreadable
from ledger.feed.reading import MOVEMENTS_MAX

WAITS_FOR_LEGS_S = 1.0
"""How long the last movements of a partition wait, if they are of a group, for further legs of it."""


@dataclass
class _Partition:
    messages: list[Message] = field(default_factory=list[Message])
    came_last_at_s: float = 0.0


class Pending:
    """In the order of each partition. Legs of a group that follow each other are taken together."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def __len__(self) -> int:
        return sum(len(partition.messages) for partition in self._partitions.values())

    def add(self, message: Message, now_s: float) -> None:
        partition = self._partitions.setdefault(message.partition, _Partition())
        partition.messages.append(message)
        partition.came_last_at_s = now_s

    def clear(self) -> None:
        """Forgets them: whoever reads the partitions from now on gets them again."""
        self._partitions.clear()

    def take(self, now_s: float, *, lane: int = 0, of_lanes: int = 1) -> list[Message]:
        """What is to be posted in one transaction; empty if nothing is, yet. Partitions are shared among lanes, so
        that the messages of each are posted one after the other."""
        taken: list[Message] = []
        room = MOVEMENTS_MAX
        for number in [number for number in self._partitions if number % of_lanes == lane]:
            partition = self._partitions[number]
            count = _fitting(partition.messages, room)
            if count == len(partition.messages) and now_s - partition.came_last_at_s < WAITS_FOR_LEGS_S:
                count -= _open_legs(partition.messages)
            taken += partition.messages[:count]
            room -= sum(_size(message) for message in partition.messages[:count])
            del partition.messages[:count]
            if not partition.messages:
                del self._partitions[number]
        return taken


def _size(message: Message) -> int:
    return 1 if isinstance(message.said, Mark | Unreadable) else len(message.said)


def _fitting(messages: list[Message], room: int) -> int:
    """How many of the messages fit, without a cut between legs of a group. Whatever is there, a whole transaction
    has room for at least one."""
    count = size = 0
    for message in messages:
        size += _size(message)
        if size > room:
            break
        count += 1
    if 0 < count < len(messages) and (group := messages[count].open_group) is not None:
        legs = _last_legs(messages[:count], group)
        if legs < count or room < MOVEMENTS_MAX:  # a group that is larger than a transaction is cut
            count -= legs
    return count


def _open_legs(messages: list[Message]) -> int:
    """How many of the last messages are legs of one group, of which more may come."""
    group = messages[-1].open_group
    return 0 if group is None or len(messages) >= MOVEMENTS_MAX else _last_legs(messages, group)


def _last_legs(messages: list[Message], group: str) -> int:
    return sum(1 for _ in takewhile(lambda message: message.open_group == group, reversed(messages)))
