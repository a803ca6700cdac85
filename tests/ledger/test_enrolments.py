"""Who may be enrolled and from when on, how an enrolment ends, and what is recalled of it (rules 1, 7 and 10)."""

from datetime import datetime

import pytest
from world import SHIPPED_PROGRAM, World, activation, at, day, end_of, program_with, units

from contract.answers import Receipt, Refusal
from contract.requests import EnrolRequest
from ledger.enrolments import enrol
from ledger.errors import BackDatingRefused, NoProgram, NotEnrolled
from staking.days import ONE_DAY
from staking.models import Activation

pytestmark = pytest.mark.on_both_databases

D1, D2, D3, D4, D5, D6 = (day("2026-10-01") + n * ONE_DAY for n in range(6))
TEN, FIVE_DAYS_LATER = at("2026-10-01 10:00"), at("2026-10-06 10:00")
WEB = activation()
APP = WEB.model_copy(update={"channel": "app", "app_version": "3.1.0"})
ALL_REASONS = [
    "region_restricted",
    "app_version_too_old",
    "document_not_accepted:terms_of_use",
    "document_not_accepted:soft_staking_terms",
    "document_not_accepted:risk_warning",
    "no_qualifying_asset",
]


async def ask(
    world: World, asked: Activation, when: datetime = TEN, *, enrolment_id: str = "one"
) -> Receipt | Refusal:
    return await enrol(
        world.ledger,
        EnrolRequest(user_id="ann", enrolment_id=enrolment_id, activation=asked, activated_at=when, now=when),
    )


async def back_dated(
    world: World, to: datetime, *, now: datetime = FIVE_DAYS_LATER, asked: Activation | None = None
) -> Receipt | Refusal:
    return await enrol(
        world.ledger,
        EnrolRequest(
            user_id="ann",
            enrolment_id="back-dated",
            activation=asked or activation(back_dated_to=to),
            activated_at=to,
            now=now,
        ),
    )


def codes(answer: Receipt | Refusal) -> list[str]:
    assert isinstance(answer, Refusal)
    assert all(reason.sentence for reason in answer.reasons)
    return [reason.code for reason in answer.reasons]


async def twelve_sol(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))


async def test_the_receipt_says_rule_1(world: World) -> None:
    await twelve_sol(world)
    assert await ask(world, WEB) == Receipt(
        enrolment_id="one",
        activated_at=at("2026-10-01 10:00"),
        first_snapshot_at=at("2026-10-02"),
        first_reward_from=at("2026-10-03"),
        first_reward_until=at("2026-10-03 08:00"),
    )


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"region": "US"}, ["region_restricted"]),
        ({"region": "US-CA"}, ["region_restricted"]),
        ({"region": "UA-43"}, ["region_restricted"]),
        ({"channel": "app", "app_version": "3.0.9"}, ["app_version_too_old"]),
        ({"channel": "app", "app_version": None}, ["app_version_too_old"]),
        ({"documents": {**WEB.documents, "risk_warning": "2025"}}, ["document_not_accepted:risk_warning"]),
        ({"documents": {}, "region": "IR", "channel": "app"}, ALL_REASONS[:-1]),
    ],
)
async def test_a_refusal_lists_every_reason_and_records_nothing(
    world: World, change: dict[str, object], reasons: list[str]
) -> None:
    await twelve_sol(world)
    assert codes(await ask(world, WEB.model_copy(update=change))) == reasons
    assert await world.sql("SELECT * FROM enrolments") == []


async def test_an_empty_account_is_refused_for_that(world: World) -> None:
    assert codes(await ask(world, WEB)) == ["no_qualifying_asset"]


async def test_all_reasons_come_together(world: World) -> None:
    everything_wrong = WEB.model_copy(update={"region": "KP", "channel": "app", "documents": {}})
    assert codes(await ask(world, everything_wrong)) == ALL_REASONS


@pytest.mark.parametrize(
    "asked", [WEB, APP, WEB.model_copy(update={"region": "UA"}), APP.model_copy(update={"app_version": "3.10"})]
)
async def test_nothing_against_it_enrols(world: World, asked: Activation) -> None:
    await twelve_sol(world)
    assert isinstance(await ask(world, asked), Receipt)


@pytest.mark.parametrize(
    ("movements", "qualifies"),
    [
        ([("1", "SOL", "2026-10-01 09:00")], True),
        ([("0.99999999", "SOL", "2026-10-01 09:00")], False),
        ([("0.99999999", "SOL", "2026-10-01 09:00"), ("150", "ADA", "2026-10-01 09:00")], True),
        ([("1000000", "DOGE", "2026-10-01 09:00")], False),
        ([("12", "SOL", "2026-10-01 10:00")], True),
        ([("12", "SOL", "2026-10-01 10:00:00.000001")], False),
        ([("12", "SOL", "2026-10-01 09:00"), ("-12", "SOL", "2026-10-01 10:00")], False),
        ([("12", "SOL", "2026-10-01 09:00"), ("-12", "SOL", "2026-10-01 11:00")], True),
    ],
)
async def test_what_counts_is_what_was_held_at_the_instant(
    world: World, movements: list[tuple[str, str, str]], qualifies: bool
) -> None:
    for tokens, asset, instant in movements:
        await world.move("ann", tokens, asset, at(instant))
    answer = await ask(world, WEB)
    assert isinstance(answer, Receipt) if qualifies else codes(answer) == ["no_qualifying_asset"]


async def test_the_accepted_documents_are_kept(world: World) -> None:
    await twelve_sol(world)
    await ask(world, WEB)
    kept = await world.sql("SELECT document, version FROM acceptances WHERE enrolment_id = 'one'")
    assert dict(map(tuple, kept)) == SHIPPED_PROGRAM.documents


async def test_before_the_first_program_nobody_can_be_enrolled(world: World) -> None:
    await twelve_sol(world)
    with pytest.raises(NoProgram, match="no program is in force on 2025-06-17"):
        await ask(world, WEB, at("2025-06-17 23:59"))


async def test_an_activation_that_comes_after_its_day_was_closed_begins_where_the_closed_days_end(
    world: World,
) -> None:
    await twelve_sol(world)
    await ask(world, WEB)
    await world.snapshot("ann", D1, enrolment_id="one")
    await world.pay("ann", D2, enrolment_id="one")
    await world.end("ann", at("2026-10-02 23:59:58"), enrolment_id="one")

    receipt = await ask(world, WEB, at("2026-10-02 23:59"), enrolment_id="two")

    assert isinstance(receipt, Receipt)
    assert receipt.activated_at == at("2026-10-03")


async def test_a_clock_that_is_behind_gives_no_day_to_two_enrolments(world: World) -> None:
    await twelve_sol(world)
    await ask(world, WEB)
    await world.end("ann", at("2026-10-03 00:00:01"), enrolment_id="one")

    receipt = await ask(world, WEB, at("2026-10-02 23:59:59"), enrolment_id="two")

    assert isinstance(receipt, Receipt)
    assert receipt.activated_at == at("2026-10-03 00:00:01")


# Back-dating.


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("2026-10-06 10:00:01", "is in the future"),
        ("2025-06-17 23:59:59", "is before the first program version, of 2025-06-18"),
    ],
)
async def test_back_dating_has_limits(world: World, to: str, why: str) -> None:
    await world.move("ann", "12", "SOL", at("2025-01-01"))
    with pytest.raises(BackDatingRefused, match=why):
        await back_dated(world, at(to))


@pytest.mark.parametrize("to", ["2025-06-18", "2026-10-01 10:00", "2026-10-06 10:00"])
async def test_back_dating_reaches_its_limits(world: World, to: str) -> None:
    await world.move("ann", "12", "SOL", at("2025-01-01"))
    receipt = await back_dated(world, at(to))
    assert isinstance(receipt, Receipt)
    assert receipt.activated_at == at(to)


async def test_no_back_dating_to_before_the_last_enrolment_ended(world: World) -> None:
    await twelve_sol(world)
    await ask(world, WEB)
    await world.end("ann", at("2026-10-03 09:00"), enrolment_id="one")
    with pytest.raises(BackDatingRefused, match="before the user's last enrolment ended, at 2026-10-03T09:00"):
        await back_dated(world, at("2026-10-03 08:59:59"))


async def test_back_dating_to_the_very_end_of_the_last_enrolment(world: World) -> None:
    await twelve_sol(world)
    await ask(world, WEB)
    await world.end("ann", at("2026-10-03 09:00"), enrolment_id="one")
    assert isinstance(await back_dated(world, at("2026-10-03 09:00")), Receipt)


async def test_no_back_dating_into_a_closed_day(world: World) -> None:
    await twelve_sol(world)
    await ask(world, WEB)
    await world.end("ann", at("2026-10-01 11:00"), enrolment_id="one")
    await world.sql("UPDATE users SET closed_through = :through", through=20_730 * 86_400_000_000)
    with pytest.raises(BackDatingRefused, match="is in a day that is closed for the user already"):
        await back_dated(world, at("2026-10-03 10:00"))


@pytest.mark.parametrize(
    ("to", "reasons"),
    [
        ("2026-10-02 12:00", None),
        ("2026-10-01 08:59", ["no_qualifying_asset"]),
        ("2026-10-05 12:00", ["no_qualifying_asset"]),
    ],
)
async def test_back_dated_eligibility_is_of_that_instant(world: World, to: str, reasons: list[str] | None) -> None:
    await twelve_sol(world)
    await world.move("ann", "-12", "SOL", at("2026-10-04"))
    answer = await back_dated(world, at(to))
    assert isinstance(answer, Receipt) if reasons is None else codes(answer) == reasons


@pytest.mark.parametrize(
    ("to", "accepted", "reasons"),
    [
        ("2026-10-02 12:00", "2026-01-01", None),
        ("2026-10-04 00:00", "2026-01-01", ["document_not_accepted:risk_warning"]),
        ("2026-10-04 00:00", "2026-10-04", None),
        ("2026-10-03 23:59", "2026-10-04", ["document_not_accepted:risk_warning"]),
    ],
)
async def test_back_dated_documents_are_those_in_force_then(
    world: World, to: str, accepted: str, reasons: list[str] | None
) -> None:
    await twelve_sol(world)
    documents = {**SHIPPED_PROGRAM.documents, "risk_warning": "2026-10-04"}
    await world.apply(program_with("2026-10-04").model_copy(update={"documents": documents}))
    shown = {**documents, "risk_warning": accepted}
    answer = await back_dated(
        world, at(to), asked=activation(back_dated_to=at(to)).model_copy(update={"documents": shown})
    )
    assert isinstance(answer, Receipt) if reasons is None else codes(answer) == reasons


async def test_new_documents_bind_no_one_who_is_enrolled(world: World) -> None:
    await twelve_sol(world)
    await world.apply(program_with("2026-10-02").model_copy(update={"documents": {"new_terms": "1"}}))
    first = await ask(world, WEB)
    await world.snapshot("ann", D1, enrolment_id="one")
    await world.pay("ann", D2, enrolment_id="one")
    assert await ask(world, WEB, at("2026-10-03 10:00"), enrolment_id="again") == first


# Ending.


@pytest.mark.parametrize(
    ("ended_at", "last_accrual_day", "owed_days"),
    [
        ("2026-10-01 10:00", None, 0),
        ("2026-10-02 00:00", None, 0),
        ("2026-10-02 23:59:59", None, 0),
        ("2026-10-03 00:00", D2, 1),
        ("2026-10-05 12:00", D4, 3),
    ],
)
async def test_the_day_of_the_end_earns_nothing_and_the_days_before_are_owed(
    world: World, ended_at: str, last_accrual_day: object, owed_days: int
) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    end = await world.end("ann", at(ended_at))
    assert (end.ended_at, end.last_accrual_day, end.owed_days) == (at(ended_at), last_accrual_day, owed_days)


async def test_days_credited_before_the_end_are_not_owed(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    assert (await world.end("ann", at("2026-10-05 12:00"))).owed_days == 2


async def test_the_second_end_answers_the_first(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    first = await world.end("ann", at("2026-10-04 12:00"), reason="the first reason")
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    for later in ("2026-10-04 12:00", "2026-10-04 18:00", "2026-12-24"):
        assert await world.end("ann", at(later), reason="another") == first


async def test_nobody_ends_what_was_never_begun(world: World) -> None:
    with pytest.raises(NotEnrolled, match="user ann has no enrolment enrolment of ann"):
        await world.end("ann", at("2026-10-04 12:00"))


async def test_nobody_ends_the_enrolment_of_another(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    with pytest.raises(NotEnrolled, match="user bob has no enrolment"):
        await world.end("bob", at("2026-10-04 12:00"), enrolment_id="enrolment of ann")


async def test_after_an_earlier_end_for_the_region_the_later_days_are_no_accrual_days(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    asked = await world.end("ann", at("2026-10-06 12:00"))
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    await world.snapshot("ann", D3)

    moved = await world.end("ann", at("2026-10-03"), reason="the region is restricted")

    assert (asked.last_accrual_day, asked.owed_days) == (D5, 4)
    assert (moved.last_accrual_day, moved.owed_days) == (D2, 1)
    assert (moved.ended_at, moved.reason) == (asked.ended_at, asked.reason)
    assert (await world.recall("ann")).enrolments == []
    assert (await world.audit()).is_clean


async def test_an_end_before_every_day_leaves_no_accrual_day(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.end("ann", at("2026-10-06 12:00"))
    end = await world.end("ann", at("2026-10-01"), reason="the region is restricted")
    assert (end.last_accrual_day, end.owed_days) == (None, 0)


async def test_a_day_that_is_paid_stays_an_accrual_day_whatever_end_comes_late(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    first = await world.pay("ann", D2)

    end = await world.end("ann", at("2026-10-02 23:59:59"))

    assert (end.last_accrual_day, end.owed_days) == (D2, 0)
    assert await world.pay("ann", D2) == first
    assert (await world.audit()).is_clean


# Activating again (rule 10).


async def test_activating_again_on_the_same_day_starts_over_at_day_1(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.end("ann", at("2026-10-01 11:00"))

    again = await world.enrol("ann", at("2026-10-01 12:00"), enrolment_id="again")
    await world.snapshot("ann", D1, enrolment_id="again")
    await world.pay("ann", D2, enrolment_id="again")

    assert isinstance(again, Receipt)
    assert again.first_reward_from == end_of(D2)
    assert [line.day for line in await world.statement("ann")] == [D2]


async def test_activating_again_a_day_later_misses_the_days_between(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    await world.end("ann", at("2026-10-03 11:00"))
    await world.enrol("ann", at("2026-10-04 12:00"), enrolment_id="again")
    await world.snapshot("ann", D4, enrolment_id="again")
    await world.pay("ann", D5, enrolment_id="again")

    assert [line.day for line in await world.statement("ann")] == [D2, D5]
    assert (await world.audit()).is_clean


async def test_activating_again_while_owed_days_wait_pays_each_day_once(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.end("ann", at("2026-10-03 11:00"))
    await world.enrol("ann", at("2026-10-03 12:00"), enrolment_id="again")

    unfinished = (await world.recall("ann")).enrolments
    assert [(each.receipt.enrolment_id, each.next_day) for each in unfinished] == [
        ("enrolment of ann", D1),
        ("again", D3),
    ]

    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    await world.snapshot("ann", D3, enrolment_id="again")
    await world.pay("ann", D4, enrolment_id="again")
    assert [line.day for line in await world.statement("ann")] == [D2, D4]
    assert (await world.audit()).is_clean


# Recalling.


async def test_nothing_is_recalled_of_an_unknown_user(world: World) -> None:
    recollection = await world.recall("nobody")
    assert (recollection.enrolments, recollection.last_end) == ([], None)


async def test_after_a_crash_between_any_two_steps_exactly_what_is_unfinished_is_recalled(world: World) -> None:
    async def next_days() -> list[tuple[str, object]]:
        known = await world.recall("ann")
        return [(each.receipt.enrolment_id, each.next_day) for each in known.enrolments]

    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"), enrolment_id="one")
    assert await next_days() == [("one", D1)]
    await world.snapshot("ann", D1, enrolment_id="one")
    assert await next_days() == [("one", D2)]
    await world.snapshot("ann", D2, enrolment_id="one")
    assert await next_days() == [("one", D2)]
    await world.pay("ann", D2, enrolment_id="one")
    assert await next_days() == [("one", D3)]
    await world.end("ann", at("2026-10-04 12:00"), enrolment_id="one")
    assert await next_days() == [("one", D3)]
    await world.enrol("ann", at("2026-10-04 13:00"), enrolment_id="two")
    assert await next_days() == [("one", D3), ("two", D4)]
    await world.snapshot("ann", D3, enrolment_id="one")
    assert await next_days() == [("one", D3), ("two", D4)]
    await world.pay("ann", D3, enrolment_id="one")
    assert await next_days() == [("two", D4)]
    await world.end("ann", at("2026-10-05 12:00"), enrolment_id="two")
    assert await next_days() == []


async def test_the_end_that_is_recalled_is_the_last(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"), enrolment_id="one")
    await world.end("ann", at("2026-10-01 11:00"), enrolment_id="one")
    await world.enrol("ann", at("2026-10-01 12:00"), enrolment_id="two")
    second = await world.end("ann", at("2026-10-03 13:00"), enrolment_id="two")
    await world.enrol("ann", at("2026-10-03 14:00"), enrolment_id="three")

    assert (await world.recall("ann")).last_end == second


async def test_enrolments_are_recalled_in_order_even_if_a_recording_clock_went_back(world: World) -> None:
    await twelve_sol(world)
    await world.enrol("ann", at("2026-10-01 10:00"), enrolment_id="one")
    await world.end("ann", at("2026-10-03 11:00"), enrolment_id="one")
    await world.enrol("ann", at("2026-10-03 12:00"), enrolment_id="two")
    await world.sql("UPDATE enrolments SET recorded_at = recorded_at + 864000000000 WHERE enrolment_id = 'one'")

    unfinished = (await world.recall("ann")).enrolments

    assert [each.receipt.enrolment_id for each in unfinished] == ["one", "two"]


async def test_a_holding_just_before_an_instant_lacks_its_own_movements(world: World) -> None:
    await twelve_sol(world)
    assert await world.holdings_before("ann", at("2026-10-01 09:00")) == {"SOL": 0}
    assert await world.holdings_before("ann", at("2026-10-01 09:01")) == {"SOL": units("12")}
