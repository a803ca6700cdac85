"""Many requests at the same time for one user are all answered, since they are written together."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from web_api import a_web, make_token
from world import World, units

from ledger.service_tokens import Scope
from web.server import serving

pytestmark = pytest.mark.on_both_databases

REQUESTS = 1000
CONNECTIONS = 64


def movement(number: int) -> dict[str, str]:
    return {"id": f"burst {number}", "user": "ann", "asset": "SOL", "amount": "0.5", "at": "2026-10-01T06:00:00Z"}


async def test_a_thousand_single_movements_of_one_user_at_the_same_time_are_all_posted(
    world: World, tmp_path: Path
) -> None:
    web = await a_web(world, tmp_path, calls_per_minute=REQUESTS)
    token = await make_token(world, Scope.MOVE)
    numbers = iter(range(REQUESTS))
    answers: Counter[tuple[int, str]] = Counter()

    async def send_one_after_the_other(address: str) -> None:
        url = urlsplit(address)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        for number in numbers:
            body = json.dumps({"movements": [movement(number)]}).encode()
            head = f"POST /v1/movements HTTP/1.1\r\nHost: feed\r\nAuthorization: {token['Authorization']}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answered = await reader.readuntil(b"\r\n\r\n")
            length = int(answered.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
            said = json.loads(await reader.readexactly(length))
            answers[int(answered.split()[1]), said["results"][0]["status"]] += 1
        writer.close()
        await writer.wait_closed()

    async with serving(web.app, host="127.0.0.1", port=0) as address:
        await asyncio.gather(*(send_one_after_the_other(address) for _ in range(CONNECTIONS)))

    assert answers == {(200, "posted"): REQUESTS}
    assert await world.balances("ann") == {"SOL": units("500")}
    assert await world.sql("SELECT count(*) FROM entries WHERE user_id = 'ann'") == [(REQUESTS,)]
