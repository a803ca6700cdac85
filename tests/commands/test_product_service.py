"""A product service uses `import starter`, with typed requests, typed answers and typed errors."""

import asyncio
import gc
from datetime import timedelta

import pytest
from commandline import CommandLine, Installation, utc_today
from polling import eventually
from temporalio.client import Client
from temporalio.service import RPCError
from world import EXPORT_HEADER

import starter
from embedded.temporal_server import throwaway_server
from temporal import client as client_module

DOCUMENTS = {"terms_of_use": "2026-01-01", "soft_staking_terms": "2026-01-01", "risk_warning": "2026-01-01"}


@pytest.fixture
async def service(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> starter.SoftStakingClient:
    for name, value in installation.variables.items():
        monkeypatch.setenv(name, value)
    return starter.SoftStakingClient(await starter.connect(), timeout=timedelta(seconds=30))


async def test_a_product_service_starts_asks_and_stops(
    service: starter.SoftStakingClient, cli: CommandLine, user: str
) -> None:
    line = f"{user},{utc_today() - timedelta(days=2)} 10:00:00,Spot,Deposit,SOL,12,"
    assert cli.run("import", cli.write("in.csv", f"{EXPORT_HEADER}\n{line}\n")).code == 0

    refusal = await service.activate(user, region="US", channel="app", app_version="3.0", documents={})
    assert isinstance(refusal, starter.Refusal)
    assert refusal.reasons[0] == starter.RefusalReason(
        code="region_restricted", sentence="Soft Staking is not offered in region US."
    )

    receipt = await service.activate(user, region="FR", channel="app", app_version="3.1", documents=DOCUMENTS)
    assert isinstance(receipt, starter.Receipt)
    assert receipt.first_reward_from - receipt.first_snapshot_at == timedelta(days=1)
    assert receipt.first_reward_until - receipt.first_reward_from == timedelta(hours=8)
    assert await service.activate(user, region="FR", channel="web", documents=DOCUMENTS) == receipt

    status = await service.status(user)
    assert isinstance(status, starter.LiveStatus)
    assert (status.state, status.enrolment_id) == ("sleeping", receipt.enrolment_id)
    assert await service.retry(user) is False

    end = await service.deactivate(user, "asked in the app")
    assert isinstance(end, starter.End)
    assert (end.enrolment_id, end.reason, end.owed_days) == (receipt.enrolment_id, "asked in the app", 0)
    assert await service.deactivate(user) == end


async def test_a_product_service_gets_an_answer_for_a_user_who_is_not_enrolled(
    service: starter.SoftStakingClient, user: str
) -> None:
    with pytest.raises(starter.RequestRefused, match=f"user {user} is not enrolled") as refused:
        await service.deactivate(user)
    assert refused.value.code == "NotEnrolled"


async def test_a_malformed_user_id_never_leaves_the_product_service(service: starter.SoftStakingClient) -> None:
    with pytest.raises(ValueError, match="'a/b' is not a user id"):
        await service.activate("a/b", region="FR", channel="web", documents=DOCUMENTS)


async def test_a_malformed_activation_is_refused_in_one_sentence(service: starter.SoftStakingClient) -> None:
    with pytest.raises(starter.RequestRefused, match=r"^region: 'ATLANTIS' is not an ISO 3166-1") as refused:
        await service.activate("ann", region="Atlantis", channel="web", documents=DOCUMENTS)
    assert refused.value.code == "BadActivation"


async def test_a_product_service_that_cancels_a_request_is_cancelled_and_hears_nothing_more() -> None:
    heard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["message"]))
    async with throwaway_server() as address:
        client = await starter.connect({"target_host": address})
        service = starter.SoftStakingClient(client, timeout=timedelta(minutes=1))
        request = asyncio.create_task(service.activate("ann", region="FR", channel="web", documents=DOCUMENTS))
        await eventually_started(client)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    del request
    gc.collect()
    assert heard == []


async def eventually_started(client: Client) -> None:
    async def it_is() -> bool:
        try:
            await client.get_workflow_handle("soft-staking/ann").describe()
        except RPCError:
            return False
        return True

    await eventually(it_is, "the workflow is started")


async def test_no_server_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    with pytest.raises(starter.NoAnswer, match=r"no Temporal server answers at 127\.0\.0\.1:1"):
        await starter.connect(timeout=timedelta(seconds=5))


async def test_a_server_that_went_away_is_not_asked_for_longer_than_it_takes_to_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By itself, the SDK would go on asking for ten seconds and more."""
    monkeypatch.setattr(client_module, "_DESCRIBE_TIMEOUT", timedelta(seconds=0.2))
    async with throwaway_server() as address:
        client = await starter.connect({"target_host": address})
    service = starter.SoftStakingClient(client, timeout=timedelta(seconds=0.1))
    sentence = r"the Temporal server does not answer \(not within 0\.2 s\); nothing is known to be recorded"
    with pytest.raises(starter.NoAnswer, match=sentence):
        await service.activate("ann", region="FR", channel="web", documents=DOCUMENTS)
    with pytest.raises(starter.NoAnswer, match=sentence):
        await service.status("ann")


async def test_a_text_that_is_no_address_is_bad_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "garbage")
    with pytest.raises(starter.BadConfiguration, match="HOST:PORT"):
        await starter.connect()
