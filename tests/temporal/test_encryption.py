"""With keys set, Temporal can read nothing about any user, and whoever has the keys can read everything for
years."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from faults.disturbing import Call, Once, disturbed_worker
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from servers import full_server
from staking_service import StakingService
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from world import SHIPPED_PROGRAM, a_world, activation

from contract.answers import Refusal
from contract.errors import RequestRefused
from contract.recollection import DAYS_PER_RUN
from contract.steps import SNAPSHOT
from ledger.database.engine import utc_now
from settings import BadConfiguration, Settings
from staking.days import ONE_DAY, start_of
from temporal.connection import connect
from temporal.encryption import PayloadEncryption, PayloadUnreadable, data_converter, is_encrypted

HOUR = timedelta(hours=1)
OLD, NEW, STRANGE = {"old": bytes(32)}, {"new": b"\1" * 32}, {"strange": b"\2" * 32}


def encoded(keys: Mapping[str, bytes], payload: Payload) -> Payload:
    (answer,) = asyncio.run(PayloadEncryption(keys).encode([payload]))
    return answer


def decoded(keys: Mapping[str, bytes], payload: Payload) -> Payload:
    (answer,) = asyncio.run(PayloadEncryption(keys).decode([payload]))
    return answer


payloads = st.builds(
    Payload, metadata=st.dictionaries(st.text(max_size=10), st.binary(max_size=20), max_size=3), data=st.binary()
)


@given(payload=payloads)
def test_whoever_has_its_key_reads_a_payload_wherever_the_key_stands(payload: Payload) -> None:
    encrypted = encoded(OLD, payload)

    for keys in (OLD, OLD | NEW, NEW | OLD):
        assert decoded(keys, encrypted) == payload
    assert decoded(NEW | OLD, encoded(NEW | OLD, payload)) == payload
    assert encoded(NEW | OLD, payload).metadata["encryption-key-id"] == b"new"


@given(payload=payloads.filter(lambda payload: payload.metadata.get("encoding") != b"binary/encrypted"))
def test_what_was_never_encrypted_is_read_as_it_is(payload: Payload) -> None:
    assert decoded(OLD, payload) == decoded({}, payload) == encoded({}, payload) == payload


PAYLOAD = Payload(metadata={"encoding": b"json/plain", "messageType": b"Activation"}, data=b'{"region":"CA-QC"}')


def test_the_same_payload_never_looks_the_same_twice() -> None:
    assert len({encoded(OLD, PAYLOAD).data for _ in range(100)}) == 100


def test_neither_content_nor_metadata_of_a_payload_can_be_seen() -> None:
    encrypted = encoded(OLD, PAYLOAD)

    assert dict(encrypted.metadata) == {"encoding": b"binary/encrypted", "encryption-key-id": b"old"}
    assert not [part for part in (b"CA-QC", b"json", b"Activation") if part in encrypted.data]


def test_a_payload_that_was_changed_anywhere_is_not_read() -> None:
    encrypted = encoded(OLD, PAYLOAD)
    length = len(encrypted.data)
    changed = [
        *(bytes(byte ^ (at == place) for at, byte in enumerate(encrypted.data)) for place in range(length)),
        *(encrypted.data[:end] for end in range(length)),
        encrypted.data + b"\0",
    ]
    for data in changed:
        with pytest.raises(PayloadUnreadable, match="a payload cannot be decrypted: it was changed"):
            decoded(OLD, Payload(metadata=encrypted.metadata, data=data))


def test_a_payload_is_not_read_under_another_name_of_its_key() -> None:
    renamed = encoded(OLD, PAYLOAD)
    renamed.metadata["encryption-key-id"] = b"other"

    with pytest.raises(PayloadUnreadable, match="another key under the id 'other'"):
        decoded({"other": OLD["old"]}, renamed)


@pytest.mark.parametrize("keys", [{}, NEW], ids=["no key", "another key"])
def test_a_process_without_the_key_learns_which_key_it_is(keys: dict[str, bytes]) -> None:
    with pytest.raises(PayloadUnreadable, match="under the key 'old', which is not among those of SOFT_STAKING_"):
        decoded(keys, encoded(OLD, PAYLOAD))


def test_a_failure_keeps_its_sentence_however_much_stands_behind_it() -> None:
    def fail(depth: int) -> None:
        sentence = f"cause {depth} {'at length ' * 40}"
        if depth == 0:
            raise ValueError(sentence)
        try:
            fail(depth - 1)
        except ValueError as error:
            raise ValueError(sentence) from error

    async def there_and_back() -> tuple[Failure, BaseException]:
        failure = Failure()
        try:
            fail(20)
        except ValueError as error:
            await data_converter(OLD).encode_failure(error, failure)
        sent = Failure.FromString(failure.SerializeToString())
        return sent, await data_converter(OLD).decode_failure(failure)

    sent, read = asyncio.run(there_and_back())

    assert sent.ByteSize() < 4_096
    assert b"at length" not in sent.SerializeToString()
    assert isinstance(read, ApplicationError)
    assert read.message == f"cause 20 {'at length ' * 40}"
    assert isinstance(read.cause, ApplicationError)
    assert read.cause.message.startswith("cause 19")


BASE64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
SHORT = "c2hvcnQgYW5kIHNlY3JldA=="


def test_the_setting_names_the_keys_the_newest_first() -> None:
    settings = Settings(payload_keys=f"2026:{BASE64}, old:{BASE64} ,")

    assert list(settings.payload_keys_by_id.items()) == [("2026", bytes(32)), ("old", bytes(32))]
    assert BASE64 not in repr(settings)
    assert Settings().payload_keys_by_id == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SHORT, "key 1 is not ID:KEY"),
        (f"2026:{BASE64},:{SHORT}", "key 2 is not ID:KEY"),
        (f"two words:{BASE64}", "key 1 is not ID:KEY"),
        (f"2026:{SHORT}", "the key '2026' is not a key: it must be 32 random bytes in base64"),
        (f"2026:{BASE64[:-1]}", "the key '2026' is not a key"),
        (f"2026:{BASE64},2026:{BASE64}", "two keys have the id '2026'"),
    ],
)
async def test_texts_that_are_no_keys_are_refused_and_never_shown(
    text: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match=sentence) as refused:
        Settings(payload_keys=text)
    monkeypatch.setenv("SOFT_STAKING_PAYLOAD_KEYS", text)
    with pytest.raises(BadConfiguration, match=f"^SOFT_STAKING_PAYLOAD_KEYS: {sentence}") as not_connected:
        await connect({"target_host": "127.0.0.1:1"})

    said = str(refused.value) + str(not_connected.value)
    assert not [secret for secret in (SHORT, BASE64[:-1]) if secret in said]


# A user's real workflow.

HELD = "89999999999.90000000"
TELLING = [
    *(b'"CA-QC"', b'"US-NY"', b"region US-NY"),
    *(HELD.encode(), b"90 billion", b"0.21917808"),
    *(b'"SOL"', b"pool SOL", b"SOL balance is", b"SOL is held back"),
    *(b"gone fishing", b"is not enrolled", b"disturbing.py"),
]


def with_keys(client: Client, keys: Mapping[str, bytes]) -> Client:
    config = client.config()
    config["data_converter"] = data_converter(keys)
    return Client(**config)


async def a_step_that_tells_what_it_saw(_call: Call) -> Any:
    raise RuntimeError(f"SOL is held back: {HELD}")


async def raw_histories(service: StakingService) -> bytes:
    """Every byte that Temporal has stored of the user's latest runs."""
    described = (await service.workflow.describe()).raw_description.SerializeToString()
    events = [event for run in await service.runs() for event in run]
    return described + b"".join(event.SerializeToString() for event in events)


async def an_eventful_life(service: StakingService) -> bytes:
    """A user's life with a refusal, a failed update, an activation, a failing step, a blocked step, an empty pool,
    days and an end."""
    world, today = service.world, utc_now().date()
    await service.deposit(HELD, when=start_of(today - 4 * ONE_DAY))
    refusal = await service.answer_to(activation(region="US-NY"))
    assert isinstance(refusal, Refusal)
    await service.completes()
    seen = await raw_histories(service)
    with pytest.raises(RequestRefused, match="user ann is not enrolled"):
        await service.deactivate()
    await service.completes()
    seen += await raw_histories(service)

    await service.activate(region="CA-QC", back_dated_to=start_of(today - 3 * ONE_DAY) + HOUR)
    await service.reaches_state("blocked")
    await world.move("ann", "-1000.12345678", "SOL", utc_now())
    assert await service.client.retry("ann")
    await service.reaches_state("waiting for pool SOL")
    await world.fund("SOL")
    assert await service.client.retry("ann")
    await service.credited_through(today - ONE_DAY)
    await service.reaches_state("sleeping")
    await service.client.deactivate("ann", "gone fishing")
    await service.completes()
    return seen + await raw_histories(service)


async def life_in_bytes(server: Client, folder: Path, keys: Mapping[str, bytes]) -> bytes:
    client = with_keys(server, keys)
    assert is_encrypted(client) == bool(keys)
    async with a_world(folder, program=None) as world:
        await world.apply(SHIPPED_PROGRAM)
        async with disturbed_worker(client, world.ledger, Once(SNAPSHOT.name, a_step_that_tells_what_it_saw)):
            return await an_eventful_life(StakingService(world, client))


async def test_no_region_amount_asset_or_failure_is_found_in_an_encrypted_history(tmp_path: Path) -> None:
    for name in ("plain", "encrypted"):
        (tmp_path / name).mkdir()
    async with full_server() as server:
        plain = await life_in_bytes(server, tmp_path / "plain", {})
        encrypted = await life_in_bytes(server, tmp_path / "encrypted", {"2026": os.urandom(32)})

    assert [text for text in TELLING if text not in plain] == []
    assert [text for text in TELLING if text in encrypted] == []
    assert encrypted.count(b"Encoded failure") >= 3
    assert b"binary/null" not in encrypted


async def test_keys_are_rotated_under_a_running_user_and_the_old_one_goes_when_a_new_run_begins(
    tmp_path: Path,
) -> None:
    async with full_server() as server, a_world(tmp_path, program=None) as world:
        await world.apply(SHIPPED_PROGRAM)
        yesterday = utc_now().date() - ONE_DAY

        @asynccontextmanager
        async def working_with(keys: Mapping[str, bytes]) -> AsyncGenerator[StakingService]:
            service = StakingService(world, with_keys(server, keys))
            await service.start_worker()
            yield service
            await service.stop_worker_at_rest()

        async with working_with(OLD) as service:
            began = start_of(yesterday - (DAYS_PER_RUN + 1) * ONE_DAY)
            await service.deposit(when=began)
            await service.activate(back_dated_to=began)
            await service.reaches_state("waiting for pool SOL")
        await world.fund("SOL")
        async with working_with(NEW | OLD) as service:
            await service.client.retry("ann")
            await service.credited_through(yesterday)
            assert len(await service.runs()) == 2
        async with working_with(NEW) as service:
            await service.deactivate()
            await service.completes()
