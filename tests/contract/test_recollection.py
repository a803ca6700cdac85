"""What a run knows of its user, and how each event changes it."""

from datetime import date, timedelta

from contract.answers import End, Receipt
from contract.recollection import Enrolment, Recollection, RunSettings, SearchAttributeUse
from staking.days import ONE_DAY, start_of
from staking.models import RewardLine, Rewards
from staking.rewards import Outcome

DAY = date(2026, 11, 3)
HOUR = timedelta(hours=1)


def receipt(enrolment_id: str, day: date = DAY) -> Receipt:
    return Receipt(
        enrolment_id=enrolment_id,
        activated_at=start_of(day) + 10 * HOUR,
        first_snapshot_at=start_of(day + ONE_DAY),
        first_reward_from=start_of(day + 2 * ONE_DAY),
        first_reward_until=start_of(day + 2 * ONE_DAY) + 8 * HOUR,
    )


def end(enrolment_id: str, day: date) -> End:
    return End(
        enrolment_id=enrolment_id,
        ended_at=start_of(day) + HOUR,
        last_accrual_day=day - ONE_DAY,
        owed_days=1,
        reason="enough",
    )


def rewards(day: date, **units_by_asset: int) -> Rewards:
    lines = [
        RewardLine(
            asset=asset,
            average=units,
            minimum="1",
            cap="10",
            apr="0.1",
            reward=units,
            outcome=Outcome.EARNED if units else Outcome.BELOW_MINIMUM,
        )
        for asset, units in units_by_asset.items()
    ]
    return Rewards(day=day, program_version=1, lines=lines)


def test_an_activation_is_open_from_its_day_on() -> None:
    known = Recollection().with_enrolment(receipt("e1"), "FR")

    assert known.open_enrolment == known.first_unfinished == known.enrolment("e1")
    assert known.enrolment("e1").next_day == DAY
    assert known.enrolment("e1").region == "FR"


def test_credits_add_up_by_asset_and_a_credit_of_zero_is_left_out() -> None:
    known = (
        Recollection().with_credit(rewards(DAY, SOL=2, SUI=0)).with_credit(rewards(DAY + ONE_DAY, SOL=3, BNB=1))
    )

    assert known.credited == {"SOL": 5, "BNB": 1}
    assert known.last_credited_day == DAY + ONE_DAY


def test_an_ended_enrolment_with_owed_days_is_unfinished_until_they_are_paid() -> None:
    known = Recollection().with_enrolment(receipt("e1"), "FR").with_next_day("e1", DAY + ONE_DAY)
    ended = known.with_end(end("e1", DAY + 2 * ONE_DAY), last_accrual_day=DAY + ONE_DAY)
    paid = ended.with_next_day("e1", DAY + 2 * ONE_DAY)

    assert ended.open_enrolment is None
    assert ended.first_unfinished == ended.enrolment("e1")
    assert paid.first_unfinished is None
    assert paid.without_finished().enrolments == []


def test_an_older_enrolment_that_ended_earlier_is_not_the_last_end() -> None:
    last = end("e2", DAY + 5 * ONE_DAY)
    known = Recollection(
        enrolments=[Enrolment(receipt=receipt("e1"), next_day=DAY + ONE_DAY, last_accrual_day=DAY + 2 * ONE_DAY)],
        last_end=last,
    )
    changed = known.with_end(end("e1", DAY + 2 * ONE_DAY), last_accrual_day=DAY + ONE_DAY)

    assert changed.last_end == last
    assert changed.enrolment("e1").last_accrual_day == DAY + ONE_DAY


def test_search_attributes_that_are_taken_up_move_neither_the_wake_nor_a_day() -> None:
    carried = Recollection(
        enrolments=[Enrolment(receipt=receipt("e1"), next_day=DAY + 3 * ONE_DAY)],
        settings=RunSettings(wake_offset=HOUR),
    )
    recalled = Recollection(
        enrolments=[Enrolment(receipt=receipt("e1"), next_day=DAY + ONE_DAY, region="FR")],
        settings=RunSettings(wake_offset=2 * HOUR, search_attributes=SearchAttributeUse.ALL),
    )
    known = carried.with_search_attributes_of(recalled)

    assert known.settings == RunSettings(wake_offset=HOUR, search_attributes=SearchAttributeUse.ALL)
    assert known.enrolment("e1").region == "FR"
    assert known.enrolment("e1").next_day == DAY + 3 * ONE_DAY
