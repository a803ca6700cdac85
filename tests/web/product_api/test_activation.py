"""An account starts, looks and stops through a product service, on a real server."""

from collections.abc import Iterator

import httpx
import pytest
from product_service import SHOWN, of, problem_in
from web_api import LiveWeb, a_live_web, make_token

from contract.answers import ENDED_BY_OPERATOR
from contract.requests import EndRequest
from ledger.database.engine import utc_now
from ledger.enrolments import end_enrolment
from ledger.service_tokens import Scope
from staking.days import ONE_DAY, day_of, end_of


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWeb]:
    with a_live_web(tmp_path_factory.mktemp("live")) as live:
        yield live


@pytest.fixture(scope="module")
def service(live: LiveWeb) -> Iterator[httpx.Client]:
    """A product service with every scope."""
    headers = live.do(make_token(live.world, *Scope))
    with httpx.Client(base_url=live.address, headers=headers, timeout=180) as client:
        yield client


def test_an_account_starts_looks_and_stops_and_repeats_answer_the_same(
    live: LiveWeb, service: httpx.Client
) -> None:
    user = live.holder("starts")

    before = service.get(of(user, "status")).json()
    receipts = [service.post(of(user, "activate"), json=SHOWN) for _ in range(2)]
    during = service.get(of(user, "status")).json()
    told_by_the_workflow = live.do(live.client.status(user))
    ends = [service.post(of(user, "deactivate"), json={"reason": "moved away"}) for _ in range(2)]
    after = service.get(of(user, "status")).json()

    assert (before["enrolled"], before["tag"]["colour"]) == (False, "grey")
    assert (before["state"], before["state_text"]) == ({"code": "not_enrolled", "parameters": {}}, "not enrolled")
    assert [receipt.status_code for receipt in receipts] == [200, 200]
    receipt = receipts[0].json()
    assert receipts[1].json() == receipt
    day_2 = end_of(day_of(utc_now()))
    assert receipt["first_snapshot_at"] == day_2.strftime("%Y-%m-%dT00:00:00Z")
    assert receipt["first_reward_until"] == (day_2 + ONE_DAY).strftime("%Y-%m-%dT08:00:00Z")
    assert (during["enrolled"], during["state"]["code"], during["tag"]["colour"]) == (True, "sleeping", "yellow")
    assert (during["enrolment_id"], during["holdings"]) == (receipt["enrolment_id"], {"SOL": "12.00000000"})
    assert told_by_the_workflow is not None
    live_part = told_by_the_workflow.model_dump(mode="json", exclude={"hold"})
    assert {name: during[name] for name in live_part} == live_part | {"state": during["state"]}
    assert during["state_text"] == live_part["state"]
    assert [end.status_code for end in ends] == [200, 200]
    assert ends[0].json() == ends[1].json()
    assert (ends[0].json()["reason"], ends[0].json()["owed_days"]) == ("moved away", 0)
    assert (after["enrolled"], after["end_reason"]) == (False, "moved away")


def test_of_an_end_by_an_operator_a_service_gets_the_text_for_the_user_and_not_the_reason(
    live: LiveWeb, service: httpx.Client
) -> None:
    user = live.holder("ended-by-an-operator")
    receipt = service.post(of(user, "activate"), json=SHOWN).json()
    end = EndRequest(
        user_id=user,
        enrolment_id=receipt["enrolment_id"],
        ended_at=utc_now(),
        reason="case 4711",
        operator="zoe",
        tell="The offer ended for your account.",
        generation=1,
    )
    live.do(end_enrolment(live.world.ledger, end))

    repeated = service.post(of(user, "deactivate"))
    status = service.get(of(user, "status"))

    assert (repeated.json()["reason"], repeated.json()["message"]) == (ENDED_BY_OPERATOR, end.tell)
    assert (status.json()["end_reason"], status.json()["message"]) == (ENDED_BY_OPERATOR, end.tell)
    for answer in (repeated, status):
        assert "case 4711" not in answer.text
        assert "zoe" not in answer.text


def test_a_refusal_lists_every_reason(live: LiveWeb, service: httpx.Client) -> None:
    user = live.holder("refused", "0.4")
    asked = {"region": "US", "channel": "app", "app_version": "3.0.9", "documents": {"terms_of_use": "2026-01-01"}}

    response = service.post(of(user, "activate"), json=asked)

    problem = problem_in(response, 409, "not-eligible", "reasons")
    assert [reason["code"] for reason in problem["reasons"]] == [
        "region_restricted",
        "app_version_too_old",
        "document_not_accepted:soft_staking_terms",
        "document_not_accepted:risk_warning",
        "no_qualifying_asset",
    ]
    assert all(reason["sentence"] in problem["detail"] for reason in problem["reasons"])


def test_a_malformed_region_is_an_invalid_request(live: LiveWeb, service: httpx.Client) -> None:
    response = service.post(of(live.holder("region"), "activate"), json={**SHOWN, "region": "Atlantis"})

    assert "region" in problem_in(response, 422, "invalid-request")["detail"]


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"reason": "moved away"}'])
def test_a_body_of_a_deactivation_may_be_left_out_in_every_way_that_clients_do(
    live: LiveWeb, service: httpx.Client, body: bytes
) -> None:
    user = live.holder(f"leaves-{len(body)}")
    service.post(of(user, "activate"), json=SHOWN)

    # A client that was generated from the OpenAPI sends a content type even without a body.
    end = service.post(of(user, "deactivate"), content=body, headers={"Content-Type": "application/json"})

    assert end.status_code == 200, end.text
    assert end.json()["reason"] == ("moved away" if b"moved" in body else "asked by the user")


def test_stopping_who_never_started_is_refused(live: LiveWeb, service: httpx.Client) -> None:
    response = service.post(of(live.holder("never-started"), "deactivate"))

    problem_in(response, 409, "not-enrolled")
