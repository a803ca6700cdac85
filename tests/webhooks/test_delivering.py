"""Webhooks: every event reaches its endpoint, in order, at least once, whatever dies meanwhile."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from polling import eventually
from servers import full_server
from world import World, a_world, at, day

from contract.events import CloudEvent
from ledger.events.reading import events_after
from ledger.events.webhooks import (
    Webhook,
    add_webhook,
    all_webhooks,
    remove_webhook,
    replay_webhook,
)
from running.webhooks import WebhookPost, delivery_from, keeping_webhooks
from running.worker import build_worker
from settings import Settings
from staking.days import ONE_DAY
from web.access.key_encryption import KeyEncryption
from webhooks import delivering
from webhooks.delivering import GIVEN_UP_AFTER, Delivery
from webhooks.sending import AddressRefused, NotDelivered, Sender, destination, new_secret

D1, D2 = day("2026-10-01"), day("2026-10-02")


@dataclass
class Endpoint:
    """A real HTTP server that keeps what it took."""

    port: int = 0
    status: int = 204
    taken: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.taken]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        assert self._server
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        headers |= {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        if self.status < 300:
            self.taken.append(json.loads(body))
            self.headers.append(headers)
            self.bodies.append(body)
        writer.write(f"HTTP/1.1 {self.status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def endpoint() -> AsyncGenerator[Endpoint]:
    made = Endpoint()
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, webhook_networks=(ip_network("127.0.0.0/8"),))  # type: ignore[arg-type]


async def subscribed(
    world: World,
    settings: Settings,
    url: str,
    *,
    after: int = 0,
    webhook_id: str = "w1",
    secret: str | None = None,
) -> Webhook:
    webhook = Webhook(
        webhook_id=webhook_id,
        url=url,
        kinds=["enrolment.began", "reward.credited"],
        sealed_secret=KeyEncryption(settings).seal(secret or new_secret(), webhook_id),
        created_at=at("2026-10-01"),
    )
    await add_webhook(world.ledger, webhook, operator="olga")
    return webhook


async def three_paid_days(world: World) -> list[str]:
    """Answers the ids of the events that a webhook gets."""
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    for number in range(3):
        await world.pay("ann", D2 + number * ONE_DAY)
    return await all_ids(world)


async def all_ids(world: World) -> list[str]:
    page = await events_after(world.ledger, 0, limit=100, kinds=["enrolment.began", "reward.credited"])
    return [event.event_id for event in page.events]


async def delivered(delivery: Delivery, webhook_id: str = "w1") -> Any:
    return await delivery.deliver(webhook_id, for_s=0, on_sign_of_life=lambda: None, stops=lambda: False)


async def test_events_arrive_in_order_signed_and_only_those_that_were_asked_for(
    world: World, settings: Settings, endpoint: Endpoint
) -> None:
    ids, secret = await three_paid_days(world), new_secret()
    await subscribed(world, settings, endpoint.url, secret=secret)

    await delivered(delivery_from(world.ledger, settings))

    assert endpoint.ids == ids
    for headers, body in zip(endpoint.headers, endpoint.bodies, strict=True):
        CloudEvent.model_validate_json(body)
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert unquote(headers["webhook-id"]) == json.loads(body)["id"]
        assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    await delivered(delivery_from(world.ledger, settings))
    assert endpoint.ids == ids


async def test_an_endpoint_that_refuses_is_tried_later_and_later_and_then_goes_on_where_it_was(
    world: World, settings: Settings, endpoint: Endpoint
) -> None:
    ids = await three_paid_days(world)
    await subscribed(world, settings, endpoint.url)
    delivery = delivery_from(world.ledger, settings)
    endpoint.status = 500

    waits = [(await delivered(delivery)).try_again_after.total_seconds() for _ in range(12)]

    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    async with world.ledger.read() as connection:
        (failing,) = await all_webhooks(connection)
    assert (failing.tries, failing.last_error) == (12, "it answered 500")
    endpoint.status = 200
    assert (await delivered(delivery)).try_again_after == timedelta()
    assert endpoint.ids == ids
    async with world.ledger.read() as connection:
        (mended,) = await all_webhooks(connection)
    assert (mended.tries, mended.failing_since, mended.last_error) == (0, None, None)


async def test_an_event_that_is_not_taken_for_three_days_is_given_up_and_the_next_one_is_tried(
    world: World, settings: Settings, endpoint: Endpoint
) -> None:
    ids = await three_paid_days(world)
    await subscribed(world, settings, endpoint.url)
    now: list[datetime] = [at("2026-10-05")]
    send = WebhookPost(settings).send

    def send_all_but_the_first(webhook: Webhook, event: Any) -> None:
        if event.event_id == ids[0]:
            raise NotDelivered("it answered 400")
        send(webhook, event)

    delivery = Delivery(world.ledger, send_all_but_the_first, lambda: now[0])
    await delivered(delivery)
    now[0] += GIVEN_UP_AFTER - timedelta(seconds=1)
    await delivered(delivery)
    assert endpoint.ids == []
    now[0] += timedelta(seconds=1)
    await delivered(delivery)
    await delivered(delivery)
    assert endpoint.ids == ids[1:]


async def test_a_replay_sends_again_what_was_sent_and_a_removed_webhook_gets_nothing(
    world: World, settings: Settings, endpoint: Endpoint
) -> None:
    ids = await three_paid_days(world)
    await subscribed(world, settings, endpoint.url)
    delivery = delivery_from(world.ledger, settings)
    await delivered(delivery)
    now = at("2026-10-06")
    await replay_webhook(world.ledger, "w1", 0, operator="olga", reason="it lost them", now=now)
    await delivered(delivery)
    assert endpoint.ids == ids * 2
    await replay_webhook(world.ledger, "w1", 0, operator="olga", reason="once more", now=now + ONE_DAY)
    await remove_webhook(world.ledger, "w1", operator="olga", reason=None, now=now)
    assert (await delivered(delivery)).ended
    assert endpoint.ids == ids * 2


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://10.1.2.3/x",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[fd00::1]/x",
        "https://0.0.0.0/x",
        "https://224.0.0.1/x",
        "http://93.184.215.14/x",
    ],
)
def test_nothing_is_sent_to_the_machine_s_own_network_or_in_plain_text(url: str) -> None:
    with pytest.raises(AddressRefused):
        Sender(()).check(destination(url))


def test_a_name_that_leads_elsewhere_a_moment_later_is_tested_where_the_connection_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["93.184.215.14", "127.0.0.1"])
    connected: list[Any] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(2, 1, 6, "", (next(answers), port))]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    monkeypatch.setattr("socket.create_connection", lambda address, **_: connected.append(address))
    sender, to = Sender(()), destination("https://rebinding.example/x")
    sender.check(to)
    with pytest.raises(AddressRefused):
        sender.send(to, new_secret(), "id", b"{}", at("2026-10-01"))
    assert connected == []


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "https://", "https://u:p@a.example/", "https://a.example/#x", "https://a.example/ b", "x"]
)
def test_a_url_to_which_nothing_can_be_sent_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        destination(url)


async def test_the_service_delivers_by_itself_also_to_an_endpoint_that_was_dead_and_a_dead_one_delays_no_other(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "RETRIED_AFTER", timedelta(milliseconds=200))
    alive, dying = Endpoint(), Endpoint()
    await alive.start()
    await dying.start()
    async with a_world(tmp_path) as world, full_server() as client:
        await subscribed(world, settings, alive.url, webhook_id="alive")
        await subscribed(world, settings, dying.url, webhook_id="dying")
        ids: list[str] = []

        async def has_all(endpoint: Endpoint) -> bool:
            return list(dict.fromkeys(endpoint.ids)) == ids

        @asynccontextmanager
        async def a_worker() -> AsyncGenerator[None]:
            delivery = delivery_from(world.ledger, settings)
            async with (
                build_worker(client, world.ledger, delivery=delivery),
                keeping_webhooks(world.ledger, client),
            ):
                yield

        async with a_worker():
            await dying.kill()
            ids += await three_paid_days(world)
            await eventually(lambda: has_all(alive), "the endpoint that is alive has every event")
            assert dying.ids == []
        async with a_worker():
            await dying.start()
            await world.pay("ann", D2 + 3 * ONE_DAY)
            ids[:] = await all_ids(world)
            await eventually(lambda: has_all(dying), "the endpoint that was dead has every event")
            await eventually(lambda: has_all(alive), "the other one has the new event")
    await alive.kill()
    await dying.kill()
