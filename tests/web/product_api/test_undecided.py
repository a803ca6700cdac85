"""If nobody has decided about a request, pages and APIs say that the outcome is not known and that a repeat is
safe."""

from datetime import timedelta
from pathlib import Path

from product_service import SHOWN
from servers import full_server
from unsteady import a_way_to, impatient
from visitor import Page, a_site, a_visitor
from web_api import a_web, make_program, make_token
from world import World, at

from contract.steps import TASK_QUEUE, WORKFLOW_TYPE, workflow_id
from ledger.service_tokens import Scope
from temporal.client import SoftStakingClient

SHORT = timedelta(seconds=0.5)


async def test_a_broken_connection_to_temporal_is_no_refusal_on_any_face(world: World, tmp_path: Path) -> None:
    service = await make_token(world, *Scope)
    async with full_server() as temporal, a_way_to(temporal) as way:
        client = SoftStakingClient(await impatient(temporal, way.address), timeout=SHORT)
        web = await a_web(world, tmp_path, client=client)
        program = await make_program(world, web.settings)
        way.cut()
        posts = [await web.post(path, body, service) for path, body in posted().items()]
        switches = [await web.signed(program, "/set", {"softStaking": wanted}) for wanted in ("TRUE", "FALSE")]
        page = await page_of_a_start(world, client)

    for post in posts:
        assert (post.status_code, post.json()["type"]) == (503, "/problems/no-answer")
        assert (post.headers["Retry-After"], "repeating is safe" in post.json()["detail"]) == ("5", True)
    for switch in switches:
        assert (switch.status_code, switch.json()["code"], switch.headers["Retry-After"]) == (503, -1007, "1")
    assert page.status == 503
    assert "may or may not be on by now" in page.text
    assert "pressing it twice is safe" in page.text


async def test_an_address_that_temporal_refuses_is_no_refusal_of_the_user(world: World, tmp_path: Path) -> None:
    service = await make_token(world, *Scope)
    async with full_server() as temporal:
        nowhere = await impatient(temporal, namespace="nowhere")
        web = await a_web(world, tmp_path, client=SoftStakingClient(nowhere))
        program = await make_program(world, web.settings)
        posts = [await web.post(path, body, service) for path, body in posted().items()]
        switch = await web.signed(program, "/set", {"softStaking": "TRUE"})

    for post in posts:
        assert (post.status_code, post.json()["type"]) == (503, "/problems/unavailable")
        assert "nothing came of it" in post.json()["detail"]
    assert (switch.status_code, switch.json()["code"]) == (503, -1001)


async def test_a_limit_of_temporal_is_no_refusal_on_any_face(world: World, tmp_path: Path) -> None:
    """A workflow without a worker that has as many updates as the server allows."""
    service = await make_token(world, *Scope)
    limit = {"history__maxInFlightUpdates": "1"}
    async with full_server(**limit) as temporal:
        await temporal.start_workflow(WORKFLOW_TYPE, "ann", id=workflow_id("ann"), task_queue=TASK_QUEUE)
        client = SoftStakingClient(await impatient(temporal), timeout=SHORT)
        web = await a_web(world, tmp_path, client=client)
        program = await make_program(world, web.settings)
        # The first update takes the only slot and never leaves it.
        posts = [await web.post(path, body, service) for path, body in (*posted().items(), *posted().items())]
        switch = await web.signed(program, "/set", {"softStaking": "TRUE"})
        page = await page_of_a_start(world, client)

    assert [(post.status_code, post.json()["type"]) for post in posts] == [(503, "/problems/no-answer")] * 4
    assert "limit on number of concurrent in-flight updates" in posts[-1].json()["detail"]
    assert (switch.status_code, switch.json()["code"]) == (503, -1007)
    assert (page.status, "pressing it twice is safe" in page.text) == (503, True)


def posted() -> dict[str, object]:
    account = "/v1/accounts/ann/soft-staking"
    return {f"{account}/activate": SHOWN, f"{account}/deactivate": {"reason": "asked by the user"}}


async def page_of_a_start(world: World, client: SoftStakingClient) -> Page:
    site = await a_site(world, at("2026-10-05 12:00"), client=client)
    async with a_visitor(site, "ann") as ann:
        path = "/soft-staking/activate"
        return await ann.press(path, path, document__risk_warning="2026-01-01")
