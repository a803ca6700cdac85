"""Users are found by the search attributes of their workflows, which cost few events."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from polling import PATIENCE, eventually
from servers import full_server
from staking_service import StakingService
from temporalio import workflow
from temporalio.api.enums.v1 import EventType, IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, RemoveSearchAttributesRequest
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from world import World, activation

from contract.acts import Act, Hold
from contract.answers import End, Receipt, Refusal
from contract.errors import RequestRefused, ServiceError
from contract.recollection import Noted, Recollection, SearchAttributeUse
from contract.steps import WORKFLOW_TYPE, workflow_id
from embedded.temporal_server import throwaway_server
from running.worker import build_worker
from staking.days import ONE_DAY, day_of
from temporal.client import SoftStakingClient, send_activation
from temporal.payloads import PYDANTIC
from temporal.setup import Registered, SetupRefused, register, usable_search_attributes
from temporal.visibility import Filter, FoundUser, failing_user_count, found_users, outdated_users, running_users
from workflows.search_attributes import (
    ALL_KEYS,
    EARNING,
    END_REASON,
    ENDED,
    HELD,
    REFUSED,
    REGION,
    STATE,
    as_noted,
    changes,
)

A_CHECK = Act(operator="ann", reason="a check")
NAMES = [key.name for key in ALL_KEYS]
FULL = "90000000000"
_queues = count(1)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A full server that knows the search attributes."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def start() -> str:
            # Runs continue as new after a few days, and not after a month.
            settings = {"limit.historyCount.suggestContinueAsNew": "60"}
            address = await stack.enter_async_context(throwaway_server(dynamic_config=settings))
            await register(await Client.connect(address))
            return address

        yield runner.run(start())
        runner.run(stack.aclose())


class Fleet:
    """Users on a real server, activated in the past so that their days are over."""

    def __init__(self, world: World, temporal: Client, use: SearchAttributeUse) -> None:
        self.world = world
        self.temporal = temporal
        self.queue = f"queue-{next(_queues)}"
        self.client = SoftStakingClient(temporal, task_queue=self.queue, timeout=PATIENCE)
        self.worker = build_worker(temporal, world.ledger, task_queue=self.queue, search_attributes=use)
        self.now = datetime.now(UTC)

    async def activate(
        self, user: str, *, days: int = 3, tokens: str = "12", asset: str = "SOL", region: str = "FR"
    ) -> Receipt:
        since = self.now - days * ONE_DAY
        await self.world.move(user, tokens, asset, since - timedelta(hours=1))
        answer = await send_activation(
            self.temporal,
            user,
            activation(region=region, back_dated_to=since if days else None),
            task_queue=self.queue,
            timeout=PATIENCE,
        )
        assert isinstance(answer, Receipt)
        return answer

    async def reaches(self, user: str, state: str) -> None:
        async def look() -> bool:
            status = await self.client.status(user)
            return status is not None and status.state == state

        await eventually(look)

    async def completes(self, user: str) -> None:
        async def look() -> bool:
            return not await self.client.is_running(user)

        await eventually(look)

    async def is_found(self, user: str, wanted: Filter) -> FoundUser:
        """Waits until the server's lists have caught up."""

        async def look() -> FoundUser | None:
            found = await found_users(self.temporal, wanted, limit=1000)
            return next((each for each in found if each.user_id == user), None)

        return await eventually(look)

    async def is_not_found(self, user: str, wanted: Filter) -> None:
        async def look() -> bool:
            found = await found_users(self.temporal, wanted, limit=1000)
            return user not in [each.user_id for each in found]

        assert await eventually(look)

    async def writes(self, user: str) -> int:
        """How many events of the user's runs are search attributes."""
        runs = await StakingService(self.world, self.temporal, user=user).runs()
        kind = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
        return sum(event.event_type == kind for run in runs for event in run)


@pytest.fixture
async def fleet(address: str, world: World) -> AsyncGenerator[Fleet]:
    temporal = await Client.connect(address, data_converter=PYDANTIC)
    made = Fleet(world, temporal, SearchAttributeUse.ALL)
    async with made.worker:
        yield made


@pytest.fixture
async def encrypted_fleet(address: str, world: World) -> AsyncGenerator[Fleet]:
    temporal = await Client.connect(address, data_converter=PYDANTIC)
    made = Fleet(world, temporal, SearchAttributeUse.WITHOUT_TERMS)
    async with made.worker:
        yield made


async def test_an_enrolled_user_is_found_by_state_and_by_region_which_covers_its_subdivisions(
    fleet: Fleet,
) -> None:
    await fleet.activate("enrolled", region="UA-30")

    found = await fleet.is_found("enrolled", Filter(state=EARNING, region="UA"))
    assert found == FoundUser("enrolled", EARNING, "UA-30", False, None, "running")
    await fleet.is_found("enrolled", Filter(region="UA-30"))
    await fleet.is_found("enrolled", Filter())
    await fleet.is_not_found("enrolled", Filter(region="UA-3"))
    assert "enrolled" in [user async for user in running_users(fleet.temporal)]


async def test_a_user_whose_pool_is_empty_is_found_until_it_is_paid(fleet: Fleet) -> None:
    await fleet.world.sql("UPDATE accounts SET balance = 0 WHERE kind = 'pool' AND asset = 'SOL'")
    await fleet.activate("waiting")
    await fleet.is_found("waiting", Filter(state="waiting_for_pool"))

    await fleet.world.fund("SOL")
    await fleet.reaches("waiting", "waiting for pool SOL")
    await fleet.client.retry("waiting")
    await fleet.is_found("waiting", Filter(state=EARNING))
    assert await fleet.writes("waiting") == 3


async def test_a_blocked_user_is_found(fleet: Fleet) -> None:
    await fleet.activate("blocked", tokens=FULL)
    found = await fleet.is_found("blocked", Filter(state="blocked"))
    assert (found.workflow, found.is_held) == ("running", False)


async def test_a_held_user_is_found_until_released_and_a_hold_costs_one_event(fleet: Fleet) -> None:
    await fleet.activate("held")
    await fleet.client.hold("held", A_CHECK)
    assert (await fleet.is_found("held", Filter(is_held=True, region="FR"))).state == EARNING
    await fleet.client.release("held", A_CHECK)
    await fleet.is_not_found("held", Filter(is_held=True))
    assert await fleet.writes("held") == 3


async def test_a_held_user_who_is_not_enrolled_is_found_without_a_state(fleet: Fleet) -> None:
    await fleet.client.hold("stranger", A_CHECK)
    found = await fleet.is_found("stranger", Filter(is_held=True))
    assert (found.state, found.region, found.is_held) == (None, None, True)
    await fleet.completes("stranger")
    await fleet.client.release("stranger", A_CHECK)
    await fleet.completes("stranger")
    await fleet.is_not_found("stranger", Filter(is_held=True))


async def test_a_refused_user_is_distinguished_from_a_paid_one_until_an_activation_is_accepted(
    fleet: Fleet,
) -> None:
    await fleet.activate("paid", days=0)
    await fleet.client.deactivate("paid")
    refused = await fleet.client.activate("refused", region="US", channel="web", documents={})
    assert isinstance(refused, Refusal)

    assert await fleet.is_found("refused", Filter(state=REFUSED)) == FoundUser(
        "refused", REFUSED, None, False, None, "completed"
    )
    await fleet.is_found("paid", Filter(state=ENDED))
    await fleet.is_not_found("paid", Filter(state=REFUSED))
    await fleet.is_not_found("refused", Filter(state=ENDED))

    await fleet.completes("refused")
    await fleet.activate("refused", days=0)
    await fleet.is_found("refused", Filter(state=EARNING))
    await fleet.is_not_found("refused", Filter(state=REFUSED))


async def test_who_was_enrolled_once_stays_ended_when_refused(fleet: Fleet) -> None:
    await fleet.activate("returning", days=0)
    await fleet.client.deactivate("returning")
    await fleet.completes("returning")
    refused = await fleet.client.activate("returning", region="US", channel="web", documents={})
    assert isinstance(refused, Refusal)
    await fleet.completes("returning")
    latest = await fleet.temporal.get_workflow_handle(workflow_id("returning")).describe()
    assert latest.typed_search_attributes.get(STATE) == ENDED


async def test_an_ended_user_is_found_by_the_reason_and_where_the_enrolment_was(fleet: Fleet) -> None:
    await fleet.activate("ended", days=0)
    reason = 'it\'s over, I am 100 % "sure"'
    await fleet.client.deactivate("ended", reason)

    found = await fleet.is_found("ended", Filter(state=ENDED, region="FR", end_reason=reason[:20]))
    assert found == FoundUser("ended", ENDED, "FR", False, reason, "completed")
    assert await fleet.writes("ended") == 2


async def test_who_has_activated_again_is_not_found_among_the_ended(fleet: Fleet) -> None:
    await fleet.activate("returned", days=0)
    await fleet.client.deactivate("returned")
    await fleet.completes("returned")
    await fleet.is_found("returned", Filter(state=ENDED))
    await fleet.activate("returned", days=0)

    found = await fleet.is_found("returned", Filter(state=EARNING))
    assert found.end_reason is None
    await fleet.is_not_found("returned", Filter(state=ENDED))
    await fleet.is_not_found("returned", Filter(end_reason="asked"))


async def test_a_run_that_continues_another_keeps_its_attributes_and_a_life_writes_twice(fleet: Fleet) -> None:
    await fleet.activate("old", days=9)
    await fleet.reaches("old", "sleeping")
    found = await fleet.is_found("old", Filter(state=EARNING, region="FR"))
    assert (found.is_held, found.workflow) == (False, "running")
    assert len(await StakingService(fleet.world, fleet.temporal, user="old").runs()) > 1

    await fleet.client.deactivate("old")
    await fleet.is_found("old", Filter(state=ENDED))
    assert await fleet.writes("old") == 2


async def test_with_encryption_neither_region_nor_wording_is_shown(encrypted_fleet: Fleet) -> None:
    fleet = encrypted_fleet
    await fleet.activate("secret", days=0)
    await fleet.client.hold("secret", A_CHECK)
    await fleet.client.deactivate("secret", "moved to Paris")

    found = await fleet.is_found("secret", Filter(state=ENDED))
    assert found == FoundUser("secret", ENDED, None, True, "deactivated", "completed")


async def test_a_run_that_began_on_a_worker_which_knew_none_is_found_once_it_is_refreshed(
    address: str, world: World
) -> None:
    temporal = await Client.connect(address, data_converter=PYDANTIC)
    before = Fleet(world, temporal, SearchAttributeUse.NONE)
    async with before.worker:
        await before.activate("early", tokens=FULL, region="UA-30")
        await before.reaches("early", "blocked")
        with pytest.raises(RequestRefused, match="start it again"):
            await before.client.refresh("early")
    async with build_worker(
        temporal, world.ledger, task_queue=before.queue, search_attributes=SearchAttributeUse.ALL
    ):
        assert "early" in await outdated_users(temporal, is_encrypted=False)
        await before.client.refresh("early")
        found = await before.is_found("early", Filter(state="blocked", region="UA"))
        assert found == FoundUser("early", "blocked", "UA-30", False, None, "running")
        assert "early" not in await outdated_users(temporal, is_encrypted=False)
        assert "early" in await outdated_users(temporal, is_encrypted=True)
    async with build_worker(
        temporal, world.ledger, task_queue=before.queue, search_attributes=SearchAttributeUse.WITHOUT_TERMS
    ):
        await before.client.refresh("early")
        await before.is_not_found("early", Filter(region="UA"))
        assert (await before.is_found("early", Filter(state="blocked"))).region is None


async def test_what_the_server_lost_is_written_again_by_a_refresh(world: World) -> None:
    async with full_server() as temporal:
        await register(temporal)
        fleet = Fleet(world, temporal, SearchAttributeUse.ALL)
        async with fleet.worker:
            await fleet.activate("lost", tokens=FULL)
            await fleet.reaches("lost", "blocked")
            removed = RemoveSearchAttributesRequest(namespace="default", search_attributes=[STATE.name])
            await temporal.operator_service.remove_search_attributes(removed)
            await register(temporal)
            await fleet.client.refresh("lost")
            assert (await fleet.is_found("lost", Filter(state="blocked"))).region == "FR"


@workflow.defn(name=WORKFLOW_TYPE)
class Defective:
    """A workflow whose code has a defect."""

    @workflow.run
    async def run(self, user_id: str, carried: Recollection | None = None) -> None:
        raise RuntimeError("a defect")


async def test_who_has_a_workflow_whose_task_fails_is_named_until_it_is_mended(world: World) -> None:
    async with full_server(system__numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute="1") as temporal:
        fleet = Fleet(world, temporal, SearchAttributeUse.NONE)
        another_process = await Client.connect(temporal.service_client.config.target_host)
        async with Worker(
            another_process,
            task_queue=fleet.queue,
            workflows=[Defective],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            await temporal.start_workflow(Defective.run, "zoe", id=workflow_id("zoe"), task_queue=fleet.queue)
            assert (await fleet.is_found("zoe", Filter(is_failing=True))).workflow == "running"
            assert await failing_user_count(temporal) == 1
        async with fleet.worker:
            await fleet.activate("zoe", days=0)
            await fleet.is_not_found("zoe", Filter(is_failing=True))
            assert await failing_user_count(temporal) == 0


async def test_a_text_that_the_server_cannot_be_asked_for_is_refused(fleet: Fleet) -> None:
    with pytest.raises(ServiceError, match="backslash"):
        await found_users(fleet.temporal, Filter(end_reason="a \\ b"), limit=1)


async def test_at_most_so_many_are_found_as_asked_for(fleet: Fleet) -> None:
    for user in ("one", "two", "three"):
        await fleet.activate(user, days=0, region="NZ")
        await fleet.is_found(user, Filter(region="NZ"))
    assert len(await found_users(fleet.temporal, Filter(region="NZ"), limit=2)) == 2


async def test_where_the_server_knows_none_a_worker_writes_none_and_pays_all_the_same(world: World) -> None:
    async with full_server() as temporal:
        use = await usable_search_attributes(temporal, is_encrypted=False)
        assert use is SearchAttributeUse.NONE
        fleet = Fleet(world, temporal, use)
        async with fleet.worker:
            await fleet.activate("plain")
            await fleet.reaches("plain", "sleeping")
            assert await fleet.writes("plain") == 0
            found = await fleet.is_found("plain", Filter())
            assert found == FoundUser("plain", None, None, None, None, "running")
            with pytest.raises(RequestRefused, match=r"run `starter\.py setup`"):
                await found_users(temporal, Filter(state=EARNING), limit=1)
        assert [line.day for line in await world.statement("plain")] == [
            day_of(fleet.now) - 2 * ONE_DAY,
            day_of(fleet.now) - ONE_DAY,
        ]


async def test_registering_adds_what_is_missing_once_and_refuses_another_type() -> None:
    async with full_server() as temporal:
        only_state = AddSearchAttributesRequest(
            namespace="default", search_attributes={NAMES[0]: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
        )
        await temporal.operator_service.add_search_attributes(only_state)

        assert await register(temporal) == Registered(added=NAMES[1:], known=NAMES[:1])
        assert await register(temporal) == Registered(added=[], known=NAMES)
        assert await usable_search_attributes(temporal, is_encrypted=False) is SearchAttributeUse.ALL
        assert await usable_search_attributes(temporal, is_encrypted=True) is SearchAttributeUse.WITHOUT_TERMS

        removed = RemoveSearchAttributesRequest(namespace="default", search_attributes=[HELD.name])
        await temporal.operator_service.remove_search_attributes(removed)
        as_text = AddSearchAttributesRequest(
            namespace="default", search_attributes={HELD.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
        )
        await temporal.operator_service.add_search_attributes(as_text)
        assert await usable_search_attributes(temporal, is_encrypted=False) is SearchAttributeUse.NONE
        with pytest.raises(SetupRefused, match="SoftStakingHeld already, of another type"):
            await register(temporal)


HOLD = Hold(held_at=datetime(2026, 10, 1, tzinfo=UTC), operator="ann", reason="a check")


def end(reason: str) -> End:
    return End(enrolment_id="1", ended_at=HOLD.held_at, last_accrual_day=None, owed_days=0, reason=reason)


@pytest.mark.parametrize(
    ("before", "use", "now", "expected"),
    [
        (
            Noted(),
            SearchAttributeUse.ALL,
            {"state": EARNING, "region": "FR"},
            {STATE.name: EARNING, REGION.name: "FR", HELD.name: False},
        ),
        (Noted(), SearchAttributeUse.NONE, {"state": EARNING, "region": "FR"}, {}),
        (
            Noted(state=EARNING, region="FR", held=False),
            SearchAttributeUse.ALL,
            {"state": EARNING, "region": "FR"},
            {},
        ),
        (
            Noted(state=EARNING, region="FR", held=False),
            SearchAttributeUse.ALL,
            {"state": EARNING, "region": "FR", "hold": HOLD},
            {HELD.name: True},
        ),
        (
            Noted(state=ENDED, region="FR", held=True, end_reason="moved"),
            SearchAttributeUse.ALL,
            {"state": EARNING, "region": "DE"},
            {STATE.name: EARNING, REGION.name: "DE", HELD.name: False, END_REASON.name: None},
        ),
        (
            Noted(state=EARNING, region="FR", held=False),
            SearchAttributeUse.WITHOUT_TERMS,
            {"state": ENDED, "region": "FR", "end": end("region_restricted:FR")},
            {STATE.name: ENDED, REGION.name: None, END_REASON.name: "region_restricted"},
        ),
        (
            Noted(state=EARNING, region="FR", held=False),
            SearchAttributeUse.ALL,
            {"state": ENDED, "region": "FR", "end": end("x" * 300)},
            {STATE.name: ENDED, END_REASON.name: "x" * 255},
        ),
    ],
    ids=["first", "none", "nothing new", "held", "enrolled anew", "encrypted", "a long reason"],
)
def test_what_has_changed_is_written_and_nothing_else(
    before: Noted, use: SearchAttributeUse, now: dict[str, object], expected: dict[str, object]
) -> None:
    given = {"state": None, "region": None, "hold": None, "end": None} | now
    written = changes(before, as_noted(before, use, **given))  # pyright: ignore[reportArgumentType]
    assert {update.key.name: update.value for update in written} == expected
