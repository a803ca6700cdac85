"""The codec endpoint gives plain text to those who may read it, and nothing to anyone else."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from google.protobuf.json_format import MessageToDict, ParseDict
from servers import full_server
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client
from web_api import NOW, make_token
from world import World

from contract.steps import TASK_QUEUE
from ledger.service_tokens import Scope, all_tokens, revoke_token
from settings import LOOPBACK, Settings
from temporal.encryption import PayloadEncryption, data_converter
from web.access.bearer import Anyone, Bearers
from web.codec import create_codec_app
from web.server import serving

KEYS = {"2026": bytes(32)}
UI = "http://127.0.0.1:8233"
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"region":"CA-QC"}')


def app(callers: Bearers | Anyone | None = None, **settings: Any) -> FastAPI:
    return create_codec_app(PayloadEncryption(KEYS), callers or Anyone(lambda: NOW, Settings(**settings)), [UI])


@pytest.fixture
async def encrypted() -> Payload:
    (payload,) = await PayloadEncryption(KEYS).encode([PLAIN])
    return payload


def body(*payloads: Payload) -> str:
    return json.dumps(MessageToDict(Payloads(payloads=payloads)))


def payloads_in(response: httpx.Response) -> list[Payload]:
    assert response.status_code == 200, response.text
    return list(ParseDict(response.json(), Payloads()).payloads)


async def ask(
    app: FastAPI,
    content: str | bytes,
    headers: Mapping[str, str] | None = None,
    *,
    path: str = "/decode",
    method: str = "POST",
) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://codec") as client:
        return await client.request(method, path, content=content, headers=headers)


@pytest.mark.parametrize("path", ["/decode", "/default/decode"])
async def test_payloads_come_back_readable_in_their_order_whether_they_were_encrypted_or_not(
    encrypted: Payload, path: str
) -> None:
    response = await ask(app(), body(encrypted, PLAIN, encrypted), {"X-Namespace": "default"}, path=path)

    assert payloads_in(response) == [PLAIN, PLAIN, PLAIN]
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_web_ui_of_a_known_origin_may_ask(encrypted: Payload) -> None:
    preflight = {
        "Origin": UI,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-namespace",
    }
    allowed = await ask(app(), "", preflight, method="OPTIONS")
    answered = await ask(app(), body(encrypted), {"Origin": UI})

    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == UI
    assert answered.headers["Access-Control-Allow-Origin"] == UI
    assert payloads_in(answered) == [PLAIN]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://codec", f"{UI}.evil.example", "http://127.0.0.1:82330", ""]
)
async def test_a_page_of_another_origin_gets_nothing(encrypted: Payload, origin: str) -> None:
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for response in (
        await ask(app(), "", preflight, method="OPTIONS"),
        await ask(app(), body(encrypted), {"Origin": origin}),
        await ask(app(), body(encrypted), {"Origin": origin, "Content-Type": "text/plain"}),
    ):
        assert response.status_code in (400, 403)
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "CA-QC" not in response.text


DEEP = '{"payloads":' + "[" * 100_000
NO_PAYLOADS = {
    "nothing": "",
    "no JSON": "payloads",
    "a number": "7",
    "no text": b"\xff\xfe",
    "a malformed payload": '{"payloads":[7]}',
    "a value for the list": '{"payloads":7}',
    "depth without end": DEEP,
}


@pytest.mark.parametrize("case", NO_PAYLOADS)
async def test_what_is_no_payloads_is_refused_in_a_sentence(case: str) -> None:
    response = await ask(app(), NO_PAYLOADS[case])

    assert (response.status_code, response.json()["detail"]) == (400, "the body is not payloads in JSON")


async def test_fields_that_nobody_knows_are_passed_over() -> None:
    assert payloads_in(await ask(app(), '{"payloads":[{"colour":"red"}],"version":7}')) == [Payload()]


async def test_where_a_payload_was_changed_or_its_key_is_lost_a_sentence_stands_in_its_place(
    encrypted: Payload,
) -> None:
    changed, lost = Payload(), Payload()
    changed.CopyFrom(encrypted)
    changed.data = encrypted.data[:-1] + b"x"
    lost.CopyFrom(encrypted)
    lost.metadata["encryption-key-id"] = b"lost"
    for unreadable, sentence in ((changed, "cannot be decrypted: it was changed"), (lost, "under the key 'lost'")):
        before, told, after = payloads_in(await ask(app(), body(encrypted, unreadable, encrypted)))

        assert (before, after) == (PLAIN, PLAIN)
        assert dict(told.metadata) == {"encoding": b"json/plain"}
        assert sentence in json.loads(told.data)


async def test_a_body_has_an_end_and_a_content_length() -> None:
    async def endless() -> Any:
        yield b"{"

    transport = httpx.ASGITransport(app(), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://codec") as client:
        unknown = await client.post("/decode", content=endless())
        too_long = await client.post("/decode", content=b"", headers={"Content-Length": str(6 * 1024 * 1024 + 1)})
    assert (unknown.status_code, too_long.status_code) == (411, 413)


async def test_an_address_may_ask_so_often_in_a_minute(encrypted: Payload) -> None:
    limited = app(calls_per_minute=2)

    statuses = [(await ask(limited, body(encrypted))).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]


async def test_nothing_is_encoded_and_nothing_else_is_there(encrypted: Payload) -> None:
    for method, path, status in (
        ("POST", "/encode", 403),
        ("POST", "/default/encode", 403),
        ("GET", "/decode", 405),
        ("POST", "/a/b/decode", 404),
        ("POST", "/", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/docs", 404),
    ):
        assert (await ask(app(), body(encrypted), method=method, path=path)).status_code == status


@pytest.mark.parametrize("path", ["/encode", "/default/encode"])
async def test_a_query_without_arguments_may_be_asked_since_there_is_nothing_to_encode(path: str) -> None:
    assert payloads_in(await ask(app(), "{}", path=path)) == []


async def test_where_tokens_are_asked_for_only_one_with_the_scope_decodes(
    world: World, encrypted: Payload
) -> None:
    locked = app(Bearers(world.ledger, lambda: NOW, Settings()))
    decoder = await make_token(world, Scope.DECODE)
    async with world.ledger.read() as connection:
        (token,) = await all_tokens(connection)
    others = await make_token(world, *(scope for scope in Scope if scope is not Scope.DECODE))
    refused: dict[int, list[Mapping[str, str]]] = {
        401: [
            {},
            {"Authorization": decoder["Authorization"].removeprefix("Bearer ")},
            {"Authorization": decoder["Authorization"][:-1] + "x"},
            {"Authorization": "Basic YTpi"},
            {"Cookie": f"Authorization={decoder['Authorization']}"},
        ],
        403: [others],
    }
    for status, attempts in refused.items():
        for headers in attempts:
            for path in ("/decode", "/default/decode"):
                response = await ask(locked, body(encrypted), headers, path=path)
                assert (response.status_code, "CA-QC" in response.text) == (status, False)

    assert payloads_in(await ask(locked, body(encrypted), decoder)) == [PLAIN]
    await revoke_token(world.ledger, token.token_id, operator="tests", now=NOW)
    assert (await ask(locked, body(encrypted), decoder)).status_code == 401


async def shown_by_temporal(address: str, *arguments: str) -> str:
    """What `temporal workflow show` prints of the workflow ``secretive``."""
    temporal = str(Path(sys.executable).parent / "temporal")
    command = (temporal, "workflow", "show", "-w", "secretive", "--detailed", "--address", address, *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return out.decode()


async def test_temporals_own_command_line_shows_plain_text_to_who_has_a_token(world: World) -> None:
    locked = app(Bearers(world.ledger, lambda: NOW, Settings()))
    token = (await make_token(world, Scope.DECODE))["Authorization"]
    async with full_server() as server, serving(locked, host=LOOPBACK, port=0) as codec:
        address = server.service_client.config.target_host
        client = await Client.connect(address, data_converter=data_converter(KEYS))
        await client.start_workflow("Any", {"region": "CA-QC"}, id="secretive", task_queue=TASK_QUEUE)
        with_codec = ("--codec-endpoint", f"{codec}/{{namespace}}", "--codec-auth", token)

        assert "region: CA-QC" not in await shown_by_temporal(address)
        assert "region: CA-QC" in await shown_by_temporal(address, *with_codec)
