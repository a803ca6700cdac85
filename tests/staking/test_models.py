"""Data that crosses Temporal or another border arrives as it was sent, or is refused."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from contract.acts import Act, Hold
from contract.answers import ActivationAnswer, ComputeAnswer, CreditAnswer, End, Receipt, Refusal
from contract.live_status import Blocked, LiveStatus
from contract.recollection import Enrolment, Recollection
from contract.requests import ComputeRequest, CreditRequest, EndRequest, EnrolRequest, SnapshotRequest
from staking.models import (
    Activation,
    BackDating,
    CreditReceipt,
    EndsHere,
    Holding,
    PoolShort,
    RefusalReason,
    RewardLine,
    Rewards,
    Snapshot,
    check_user_id,
)
from staking.money import MAX_ACCOUNT_UNITS
from staking.rewards import Outcome

DAY = date(2026, 11, 3)
NOW = datetime(2026, 11, 4, 0, 0, 1, 250_000, tzinfo=UTC)

BACK_DATING = BackDating(activated_at=NOW, operator="ops", reason="migrated")
ACTIVATION = Activation(
    region="FR",
    channel="app",
    app_version="3.1.0",
    documents={"terms_of_use": "2026-01-01"},
    back_dating=BACK_DATING,
)
RECEIPT = Receipt(
    enrolment_id="e1",
    activated_at=NOW,
    first_snapshot_at=NOW,
    first_reward_from=NOW,
    first_reward_until=NOW,
)
REFUSAL = Refusal(reasons=[RefusalReason(code="region_restricted", sentence="No.")])
END = End(enrolment_id="e1", ended_at=NOW, last_accrual_day=DAY, owed_days=2, reason="asked")
ENROLMENT = Enrolment(receipt=RECEIPT, next_day=DAY, last_accrual_day=None)
SNAPSHOT = Snapshot(day=DAY, holdings=[Holding(asset="SOL", opening=0, closing=1, average=MAX_ACCOUNT_UNITS)])
LINE = RewardLine(
    asset="SOL",
    average=10_12500000,
    minimum="1",
    cap="10000",
    apr="0.0080",
    reward=22191,
    outcome=Outcome.EARNED,
)
REWARDS = Rewards(day=DAY, program_version=1, lines=[LINE])
ENDS_HERE = EndsHere(day=DAY, reason="region_restricted")
CREDITED = CreditReceipt(day=DAY, credited_at=NOW, late=False, entry_id=None)
POOL_SHORT = PoolShort(day=DAY, assets=["SOL"])
BLOCKED = Blocked(step="credit", day=DAY, message="no")

MODELS: list[BaseModel] = [
    ACTIVATION,
    BACK_DATING,
    RECEIPT,
    REFUSAL,
    END,
    ENROLMENT,
    Recollection(enrolments=[ENROLMENT], last_end=END),
    Recollection(
        enrolments=[ENROLMENT],
        last_end=None,
        hold=Hold(held_at=NOW, operator="ann", reason="a check"),
        credited={"SOL": 1},
    ),
    LiveStatus(state="blocked", enrolment_id="e1", day_in_progress=DAY, next_boundary=NOW, blocked=BLOCKED),
    EnrolRequest(user_id="1001", enrolment_id="e1", activation=ACTIVATION, activated_at=NOW, now=NOW),
    EndRequest(user_id="1001", enrolment_id="e1", ended_at=NOW, reason="asked"),
    SnapshotRequest(user_id="1001", enrolment_id="e1", day=DAY, now=NOW),
    SNAPSHOT,
    ComputeRequest(user_id="1001", enrolment_id="e1", snapshot=SNAPSHOT),
    REWARDS,
    ENDS_HERE,
    CreditRequest(user_id="1001", enrolment_id="e1", rewards=REWARDS, now=NOW),
    CREDITED,
    POOL_SHORT,
]


def name_of(model: BaseModel) -> str:
    return type(model).__name__


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_a_model_arrives_as_it_was_sent(model: BaseModel):
    assert type(model).model_validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_an_unknown_field_is_refused(model: BaseModel):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(model).model_validate(dict(model) | {"surprise": 1})


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_a_model_cannot_be_changed_after_the_fact(model: BaseModel):
    field = next(iter(type(model).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model, field, getattr(model, field))


@pytest.mark.parametrize(
    ("union", "answers"),
    [
        (ActivationAnswer, [RECEIPT, REFUSAL]),
        (ComputeAnswer, [REWARDS, ENDS_HERE]),
        (CreditAnswer, [CREDITED, POOL_SHORT]),
    ],
    ids=["activation", "compute", "credit"],
)
def test_the_answers_of_a_step_can_be_distinguished(union: Any, answers: list[BaseModel]):
    adapter = TypeAdapter[BaseModel](union)
    for answer in answers:
        assert adapter.validate_json(adapter.dump_json(answer)) == answer


def test_amounts_cross_as_text_that_a_person_can_read():
    crossing = LINE.model_dump(mode="json")
    assert (crossing["average"], crossing["reward"]) == ("10.12500000", "0.00022191")


def test_a_reward_computed_before_formulas_had_numbers_is_of_the_first():
    crossing = LINE.model_dump(mode="json")
    del crossing["formula"]
    assert RewardLine.model_validate(crossing).formula == 1


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (Act(operator="ann", reason="a check"), "tell"),
        (Hold(held_at=NOW, operator="ann", reason="a check"), "tell"),
        (EndRequest(user_id="1001", enrolment_id="e1", ended_at=NOW, reason="asked"), "tell"),
        (END, "tell"),
        (END, "operator"),
    ],
)
def test_what_was_sent_before_there_were_texts_for_users_is_read(model: BaseModel, field: str):
    crossing = model.model_dump(mode="json")
    del crossing[field]
    assert type(model).model_validate(crossing) == model


def test_the_terms_cross_as_written():
    crossing = LINE.model_dump(mode="json")
    assert (crossing["minimum"], crossing["cap"], crossing["apr"]) == ("1", "10000", "0.0080")


@pytest.mark.parametrize("amount", [1.0, True, "1.123456789", "NaN", "92233720368.54775808", None])
def test_a_holding_is_exact_or_refused(amount: object):
    with pytest.raises(ValidationError, match="average"):
        Holding.model_validate({"asset": "SOL", "opening": 0, "closing": 0, "average": amount})


@pytest.mark.parametrize("user_id", ["1", "1001", "a.b_c-D", ".", "-", "A" * 64])
def test_a_user_id_is_kept_as_it_came(user_id: str):
    assert check_user_id(user_id) == user_id


@pytest.mark.parametrize(
    "user_id",
    ["", " ", "a b", "a/b", "../x ", "1001\n", "a\0", "é", "１", "A" * 65, "a'; --", "user@example.org", "%2e"],
)
def test_what_is_not_a_user_id_is_refused(user_id: str):
    with pytest.raises(ValueError, match="is not a user id: 1 to 64 characters"):
        check_user_id(user_id)
    with pytest.raises(ValidationError, match="is not a user id"):
        SnapshotRequest(user_id=user_id, enrolment_id="e1", day=DAY, now=NOW)


def test_a_very_long_user_id_is_refused_without_being_repeated():
    with pytest.raises(ValueError, match="is not a user id") as refusal:
        check_user_id("A" * 10_000)
    assert len(str(refusal.value)) < 200


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
def test_every_user_id_of_the_alphabet_is_taken(user_id: str):
    assert check_user_id(user_id) == user_id


@pytest.mark.parametrize(
    ("given_region", "region"), [("FR", "FR"), ("fr", "FR"), ("ua-43", "UA-43"), ("GB-eng", "GB-ENG")]
)
def test_a_region_is_read_in_either_case(given_region: str, region: str):
    assert Activation(region=given_region, channel="web").region == region


@pytest.mark.parametrize(
    "region", ["", "F", "FRA", "FR-", "FR_75", "FR-7500", " FR", "FR\n", "12", "ß", "ﬁ", None, 840]
)
def test_what_is_not_a_region_code_is_refused(region: Any):
    with pytest.raises(ValidationError, match="region"):
        Activation(region=region, channel="web")


@pytest.mark.parametrize(
    "version", ["", "v3.1", "3.1.0-beta", "3..1", "3.1.", "1.2.3.4.5", "３.1", "3.1\n", "1234567", 3.1]
)
def test_what_is_not_an_app_version_is_refused(version: Any):
    with pytest.raises(ValidationError, match="app_version"):
        Activation(region="FR", channel="app", app_version=version)


@pytest.mark.parametrize("channel", ["", "Web", "phone", None])
def test_an_unknown_channel_is_refused(channel: Any):
    with pytest.raises(ValidationError, match="channel"):
        Activation(region="FR", channel=channel)


def test_an_activation_names_at_most_32_documents():
    Activation(region="FR", channel="web", documents={str(n): "1" for n in range(32)})
    with pytest.raises(ValidationError, match="documents"):
        Activation(region="FR", channel="web", documents={str(n): "1" for n in range(33)})


@pytest.mark.parametrize("field", ["operator", "reason"])
@pytest.mark.parametrize("text", ["", "x" * 501])
def test_back_dating_names_an_operator_and_a_reason(field: str, text: str):
    with pytest.raises(ValidationError, match=field):
        BackDating.model_validate({"activated_at": NOW, "operator": "ops", "reason": "migrated"} | {field: text})


def test_an_instant_is_kept_in_utc():
    told_in_paris = BackDating.model_validate(
        {"activated_at": "2026-11-04T01:00:01.250000+01:00", "operator": "ops", "reason": "migrated"}
    )
    assert told_in_paris.activated_at == NOW
    assert told_in_paris.activated_at.tzinfo is UTC


def test_an_instant_without_a_time_zone_is_refused():
    with pytest.raises(ValidationError, match="timezone"):
        BackDating.model_validate({"activated_at": "2026-11-04T00:00:00", "operator": "ops", "reason": "migrated"})
