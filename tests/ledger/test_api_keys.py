"""Keys of users' programs and tokens of services: what is recorded of them, and that a revoked one stays
revoked."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError
from world import SHIPPED_PROGRAM, World, at

from ledger.api_keys import (
    ApiKey,
    KeyKind,
    Profile,
    add_key,
    all_keys,
    key_in_use,
    profile_of,
    profile_of_latest_enrolment,
    revoke_key,
)
from ledger.errors import UnknownKey, UnknownToken
from ledger.service_tokens import Scope, ServiceToken, add_token, all_tokens, revoke_token, tokens_in_use

pytestmark = pytest.mark.on_both_databases

NOW = at("2026-10-05 12:00")
HMAC = ApiKey("hmac key", "ann", KeyKind.HMAC, False, "FR", NOW, sealed_secret=b"\x00\xff sealed")
RSA = ApiKey("rsa key", "ann", KeyKind.RSA, True, None, NOW + timedelta(seconds=1), public_key="pem")
OF_BOB = ApiKey("bob's key", "bob", KeyKind.ED25519, False, "DE", NOW + timedelta(seconds=2), public_key="pem")
TOKEN = ServiceToken("id", "spot page", frozenset({Scope.READ, Scope.ACTIVATE}), b"\x00\xff hash", NOW)


async def test_keys_are_read_as_they_were_recorded(world: World) -> None:
    for key in (OF_BOB, HMAC, RSA):
        await add_key(world.ledger, key, {}, operator="tests")

    async with world.ledger.read() as connection:
        assert await all_keys(connection) == [HMAC, RSA, OF_BOB]
        assert await all_keys(connection, "ann") == [HMAC, RSA]
        assert await key_in_use(connection, "hmac key") == HMAC
        assert await key_in_use(connection, "another") is None


async def test_a_key_carries_the_documents_that_were_accepted_when_it_was_made(world: World) -> None:
    await add_key(world.ledger, HMAC, SHIPPED_PROGRAM.documents, operator="tests")
    await add_key(world.ledger, RSA, {}, operator="tests")

    async with world.ledger.read() as connection:
        assert await profile_of(connection, HMAC) == Profile("FR", SHIPPED_PROGRAM.documents)
        assert await profile_of(connection, RSA) == Profile(None, {})


async def test_what_a_user_said_last_is_found_in_the_latest_enrolment(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-09-30"))
    await world.enrol("ann", at("2026-10-01"), enrolment_id="first", region="DE")
    await world.end("ann", at("2026-10-02"), enrolment_id="first")
    await world.enrol("ann", at("2026-10-03"), enrolment_id="second", region="FR")

    async with world.ledger.read() as connection:
        assert await profile_of_latest_enrolment(connection, "ann") == Profile("FR", SHIPPED_PROGRAM.documents)
        assert await profile_of_latest_enrolment(connection, "bob") == Profile(None, {})


async def test_a_revoked_key_is_out_of_use_and_a_repeat_answers_the_first(world: World) -> None:
    await add_key(world.ledger, HMAC, {}, operator="tests")

    answers = [
        await revoke_key(world.ledger, "hmac key", operator="tests", now=NOW + timedelta(hours=hour))
        for hour in (1, 2)
    ]

    assert answers == [replace(HMAC, revoked_at=NOW + timedelta(hours=1))] * 2
    async with world.ledger.read() as connection:
        assert await key_in_use(connection, "hmac key") is None
        assert await all_keys(connection) == answers[:1]


async def test_simultaneous_revocations_get_the_same_answer(world: World) -> None:
    await add_key(world.ledger, HMAC, {}, operator="tests")

    first, second = await asyncio.gather(
        *(
            revoke_key(world.ledger, "hmac key", operator="tests", now=NOW + timedelta(hours=hour))
            for hour in (1, 2)
        )
    )

    assert first == second


async def test_what_was_never_made_cannot_be_revoked(world: World) -> None:
    with pytest.raises(UnknownKey, match="keys list"):
        await revoke_key(world.ledger, "a key", operator="tests", now=NOW)
    with pytest.raises(UnknownToken, match="tokens list"):
        await revoke_token(world.ledger, "an id", operator="tests", now=NOW)


@pytest.mark.parametrize(
    "broken",
    [
        replace(HMAC, sealed_secret=None),
        replace(HMAC, public_key="pem"),
        replace(RSA, public_key=None),
        replace(OF_BOB, sealed_secret=b"sealed"),
    ],
)
async def test_the_database_keeps_no_key_that_nothing_checks(world: World, broken: ApiKey) -> None:
    with pytest.raises(IntegrityError):
        await add_key(world.ledger, broken, {}, operator="tests")


async def test_tokens_are_read_as_they_were_recorded_until_they_are_revoked(world: World) -> None:
    await add_token(world.ledger, TOKEN, operator="tests")
    async with world.ledger.read() as connection:
        assert await tokens_in_use(connection, ["id", "another"]) == {"id": TOKEN, "another": None}

    answers = [
        await revoke_token(world.ledger, "id", operator="tests", now=NOW + timedelta(hours=hour))
        for hour in (1, 2)
    ]

    assert answers == [replace(TOKEN, revoked_at=NOW + timedelta(hours=1))] * 2
    async with world.ledger.read() as connection:
        assert await tokens_in_use(connection, ["id"]) == {"id": None}
        assert await all_tokens(connection) == answers[:1]
