"""Messages that wait to be posted: in the order of each partition, and legs that belong together not apart."""

from hypothesis import given
from hypothesis import strategies as st
from world import at

from ledger.feed.messages import Mark, Message
from ledger.feed.reading import MOVEMENTS_MAX, Arrived, Reason, SentMovement
from streaming.pending import WAITS_FOR_LEGS_S, Pending


def said(*groups: str | None) -> list[Arrived]:
    reason = Reason("any", "any")
    return [Arrived(SentMovement("m", "ann", "SOL", "1", "2026-10-01", group), reason) for group in groups]


def pending(*messages: Message) -> Pending:
    made = Pending()
    for message in messages:
        made.add(message, 0)
    return made


def places(messages: list[Message]) -> list[tuple[int, int]]:
    return [(message.partition, message.offset) for message in messages]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([1, 2, 400, 999, 1000]), st.sampled_from([None, "g", "h"])),
        max_size=12,
    )
)
def test_everything_is_taken_once_in_the_order_of_its_partition_and_never_too_much_at_once(
    written: list[tuple[int, int, str | None]],
) -> None:
    messages = [
        Message(partition, offset, offset, said(*[group] * count))
        for offset, (partition, count, group) in enumerate(written)
    ]
    waiting, taken = pending(*messages), list[Message]()
    while part := waiting.take(WAITS_FOR_LEGS_S):
        assert sum(len(message.said) for message in part) <= MOVEMENTS_MAX  # type: ignore[arg-type]
        taken += part

    assert not len(waiting)
    for partition in range(3):
        expected = [message for message in messages if message.partition == partition]
        assert [message for message in taken if message.partition == partition] == expected


def test_the_last_legs_of_a_group_wait_for_the_next_message_or_for_a_second() -> None:
    first, *legs = (Message(0, offset, offset, said(group)) for offset, group in enumerate([None, "g", "g"]))
    waiting = pending(first, *legs, Message(1, 0, 0, said(None)))

    assert places(waiting.take(0.5)) == [(0, 0), (1, 0)]
    assert waiting.take(WAITS_FOR_LEGS_S - 0.1) == []
    assert places(waiting.take(WAITS_FOR_LEGS_S)) == [(0, 1), (0, 2)]
    for following in (said(None), said("h"), Mark("wallet", at("2026-10-01"))):
        waiting = pending(*legs, Message(0, 3, 3, following))
        assert places(waiting.take(0))[:2] == [(0, 1), (0, 2)]


def test_a_transaction_is_not_cut_between_the_legs_of_a_group() -> None:
    written = [None] * (MOVEMENTS_MAX - 1) + ["g", "g"] + [None] * 3
    waiting = pending(*(Message(0, offset, offset, said(group)) for offset, group in enumerate(written)))

    parts = [waiting.take(WAITS_FOR_LEGS_S), waiting.take(WAITS_FOR_LEGS_S)]

    assert [len(part) for part in parts] == [MOVEMENTS_MAX - 1, 5]


def test_a_group_that_is_larger_than_a_transaction_is_cut() -> None:
    waiting = pending(*(Message(0, offset, offset, said("g")) for offset in range(MOVEMENTS_MAX + 3)))

    parts = [waiting.take(0), waiting.take(WAITS_FOR_LEGS_S)]

    assert [len(part) for part in parts] == [MOVEMENTS_MAX, 3]
    assert [offset for part in parts for _, offset in places(part)] == list(range(MOVEMENTS_MAX + 3))


def test_legs_in_one_message_are_complete() -> None:
    waiting = pending(Message(0, 0, 0, said("g", "g")))

    assert places(waiting.take(0)) == [(0, 0)]


def test_what_is_forgotten_is_not_taken() -> None:
    waiting = pending(Message(0, 0, 0, said(None)))
    waiting.clear()

    assert waiting.take(WAITS_FOR_LEGS_S) == []
