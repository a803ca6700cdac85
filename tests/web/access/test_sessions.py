"""Sessions are signed, expire, and are bound to their forms. A secret signs them."""

import asyncio
import base64
import hmac
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from visitor import SECRET, Clock
from world import at

from settings import BadConfiguration, Settings
from web.access.sessions import SESSION_LIFETIME, Sessions, signing_secret

NOW = at("2026-10-05 10:00")


def sessions(secret: str = SECRET, now: datetime | Clock = NOW) -> Sessions:
    return Sessions(secret.encode(), now if isinstance(now, Clock) else Clock(now))


def test_a_session_is_recognised_by_whoever_has_the_secret() -> None:
    session = sessions().begin("ann", "FR")
    assert sessions().open(sessions().seal(session)) == session


def test_a_session_expires_by_the_services_clock() -> None:
    clock = Clock(NOW)
    cookie = sessions(now=clock).seal(sessions(now=clock).begin("ann"))
    clock.goes_on(SESSION_LIFETIME - timedelta(microseconds=1))
    assert sessions(now=clock).open(cookie)
    clock.goes_on(timedelta(microseconds=1))
    assert sessions(now=clock).open(cookie) is None


def forged() -> dict[str, str]:
    ours = sessions().seal(sessions().begin("ann", "FR"))
    body, _, signature = ours.rpartition(".")
    content = sessions().begin("bob").model_dump(mode="json")
    claims_bob = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    return {
        "signed with another secret": sessions("another secret, which is long enough").seal(
            sessions().begin("ann")
        ),
        "another's name under our signature": f"{claims_bob}.{signature}",
        "no signature": body,
        "an empty signature": f"{body}.",
        "one character more": f"{ours}A",
        "one character changed": f"{'B' if ours[5] != 'B' else 'C'}".join((ours[:5], ours[6:])),
        "the two parts exchanged": f"{signature}.{body}",
        "nothing": "",
        "text": "ann",
        "not ASCII": "änn.ß",
        "endless": "A" * 100_000,
    }


@pytest.mark.parametrize("case", forged())
def test_a_forged_session_is_not_recognised(case: str) -> None:
    assert sessions().open(forged()[case]) is None


def test_a_signed_text_that_is_no_session_is_none() -> None:
    signer = sessions()._signer
    for content in (
        {},
        [],
        "ann",
        {"user_id": "ann"},
        {**sessions().begin("ann").model_dump(mode="json"), "x": 1},
    ):
        assert sessions().open(signer.dumps(content)) is None
    of_nobody = sessions().begin("ann").model_dump(mode="json") | {"user_id": "../bob"}
    assert sessions().open(signer.dumps(of_nobody)) is None


def test_every_session_has_an_id_of_its_own() -> None:
    ids = {sessions().begin("ann").session_id for _ in range(100)}
    assert len(ids) == 100
    assert min(map(len, ids)) >= 32


def test_a_form_token_is_its_sessions_alone() -> None:
    one, other = sessions().begin("ann"), sessions().begin("ann")
    token = sessions().form_token(one)
    assert sessions().is_form_token(one, token)
    assert not sessions().is_form_token(other, token)
    assert not sessions("another secret, which is long enough").is_form_token(one, token)
    for wrong in ("", token[:-1], token + "0", token.upper(), "ü" * 64):
        assert not sessions().is_form_token(one, wrong)


def test_a_form_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append(other) or real(one, other))
    assert not sessions().is_form_token(sessions().begin("ann"), "0" * 64)
    assert compared == [b"0" * 64]


def test_the_secret_is_the_setting_or_else_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    assert signing_secret(Settings(session_secret=SecretStr(SECRET), data_dir=tmp_path / "a")) == SECRET.encode()
    assert not (tmp_path / "a").exists()

    for name in ("b", "c"):
        (tmp_path / name).mkdir()
    made = signing_secret(Settings(data_dir=tmp_path / "b"))
    assert len(made) >= 64
    assert (tmp_path / "b" / "session.key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in (tmp_path / "b").iterdir()] == ["session.key"]
    assert signing_secret(Settings(data_dir=tmp_path / "b")) == made
    assert signing_secret(Settings(data_dir=tmp_path / "c")) != made


async def test_two_processes_that_start_at_the_same_time_sign_with_one_secret(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    secrets = await asyncio.gather(*(asyncio.to_thread(signing_secret, settings) for _ in range(8)))
    assert len(set(secrets)) == 1


def test_a_secret_that_others_can_read_or_that_is_short_is_refused_with_what_to_do(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    signing_secret(settings)
    (tmp_path / "session.key").chmod(0o640)
    with pytest.raises(BadConfiguration, match="others can read it: remove it"):
        signing_secret(settings)
    (tmp_path / "session.key").write_text("short")
    (tmp_path / "session.key").chmod(0o600)
    with pytest.raises(BadConfiguration, match="too short"):
        signing_secret(settings)
    with pytest.raises(BadConfiguration, match="SOFT_STAKING_SESSION_SECRET"):
        signing_secret(Settings(data_dir=Path("/proc/none")))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("session_secret", "short", "at least 32 characters"),
        ("gateway_peers", "10.0.0.1, gateway.internal", "gateway.internal"),
        ("trusted_proxies", "10.1.2.3/8", "has host bits set"),
        ("gateway_user_header", "X User", "not the name of a header"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(name: str, value: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Settings.model_validate({name: value})


def test_a_secret_is_not_shown_with_the_settings() -> None:
    assert SECRET not in repr(Settings(session_secret=SecretStr(SECRET)))
