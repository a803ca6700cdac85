"""What an import decides, without a ledger."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.imports.plan import in_balance


@given(
    start=st.integers(0, 100),
    changes=st.lists(st.integers(-50, 50).filter(bool), min_size=1, max_size=30),
)
def test_a_balance_that_is_reversed_in_parts_is_never_far_from_what_it_will_be(
    start: int, changes: list[int]
) -> None:
    last = start - sum(changes)
    largest = max(map(abs, changes))
    holding = start
    order = list(in_balance(start, list(enumerate(changes))))
    assert sorted(order) == list(range(len(changes)))
    for number in order:
        holding -= changes[number]
        assert min(start, last) <= holding <= max(start, last) + 2 * largest
    assert holding == last
