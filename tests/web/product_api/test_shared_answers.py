"""Equal questions that come at the same time get one answer, which was never begun before they came."""

import asyncio
from collections import defaultdict

import pytest

from web.product_api.shared_answers import SharedAnswers


class Finding:
    """Counts the questions, and answers with the count when the test lets it."""

    def __init__(self) -> None:
        self.begun: defaultdict[str, int] = defaultdict(int)
        self.goes_on = asyncio.Event()

    async def __call__(self, question: str) -> int:
        self.begun[question] += 1
        number = self.begun[question]
        await self.goes_on.wait()
        if question == "a defect":
            raise AssertionError(question)
        return number


@pytest.fixture
def finding() -> Finding:
    return Finding()


@pytest.fixture
def shared(finding: Finding) -> SharedAnswers[int]:
    return SharedAnswers(finding)


async def _asking(shared: SharedAnswers[int], *questions: str) -> list[asyncio.Task[int]]:
    """Asks the questions, and returns when all are asked and their finding has begun."""
    asking = [asyncio.create_task(shared.answer(question)) for question in questions]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return asking


async def test_a_question_that_comes_while_an_answer_is_found_gets_the_next_one_together_with_others(
    shared: SharedAnswers[int], finding: Finding
) -> None:
    asking = [*await _asking(shared, "ann"), *await _asking(shared, "ann", "ann", "ann")]
    finding.goes_on.set()

    assert await asyncio.gather(*asking) == [1, 2, 2, 2]


async def test_nothing_is_kept_for_who_asks_later(shared: SharedAnswers[int], finding: Finding) -> None:
    finding.goes_on.set()

    assert [await shared.answer("ann") for _ in range(3)] == [1, 2, 3]


async def test_a_question_does_not_wait_for_another(shared: SharedAnswers[int], finding: Finding) -> None:
    asking = await _asking(shared, "ann", "bob")

    assert finding.begun == {"ann": 1, "bob": 1}
    finding.goes_on.set()
    assert await asyncio.gather(*asking) == [1, 1]


async def test_a_caller_who_goes_away_does_not_cancel_the_answers_of_others(
    shared: SharedAnswers[int], finding: Finding
) -> None:
    first, leaves, stays = [*await _asking(shared, "ann"), *await _asking(shared, "ann", "ann")]
    first.cancel()
    leaves.cancel()
    await asyncio.gather(first, leaves, return_exceptions=True)
    finding.goes_on.set()

    assert await stays == 2


async def test_an_answer_for_which_nobody_waits_any_more_is_not_found(
    shared: SharedAnswers[int], finding: Finding
) -> None:
    first, leaves = [*await _asking(shared, "ann"), *await _asking(shared, "ann")]
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    finding.goes_on.set()

    assert await first == 1
    assert await shared.answer("ann") == 2


async def test_an_error_is_raised_for_all_who_wait_for_the_answer(
    shared: SharedAnswers[int], finding: Finding
) -> None:
    asking = await _asking(shared, "a defect", "a defect")
    finding.goes_on.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert [type(answer) for answer in answers] == [AssertionError, AssertionError]
