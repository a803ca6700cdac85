"""The exchange's own client, unmodified, against a real server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from binance_common.configuration import ConfigurationRestAPI
from binance_common.errors import BadRequestError, ForbiddenError, UnauthorizedError
from binance_sdk_staking.staking import Staking
from web_api import ED25519_KEY, RSA_KEY, LiveWeb, Program, a_live_web, milliseconds, private_pem
from world import SHIPPED_PROGRAM, World

from ledger.api_keys import KeyKind
from ledger.database.engine import utc_now
from staking.days import ONE_DAY, day_of, start_of

KINDS = list(KeyKind)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWeb]:
    with a_live_web(tmp_path_factory.mktemp("live")) as live:
        yield live


def client_of(web: LiveWeb, program: Program, kind: KeyKind) -> Any:
    """The official client as its users make it."""
    private = {KeyKind.RSA: RSA_KEY, KeyKind.ED25519: ED25519_KEY}.get(kind)
    secret = {"api_secret": program.secret} if private is None else {"private_key": private_pem(private)}
    configuration = ConfigurationRestAPI(
        api_key=program.api_key, base_path=web.address, timeout=60_000, retries=0, **secret
    )
    return Staking(config_rest_api=configuration).rest_api


async def enrolments_of(world: World, user: str) -> list[bool]:
    """For each enrolment, whether it is open."""
    rows = await world.sql("SELECT ended_at FROM enrolments WHERE user_id = :user", user=user)
    return [row.ended_at is None for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_the_official_client_starts_looks_and_stops_with_every_kind_of_key(web: LiveWeb, kind: KeyKind) -> None:
    user = web.holder(f"user-{kind}")
    client = client_of(web, web.program(user, kind), kind)

    assert client.get_soft_staking_product_list().data().status is False
    assert client.set_soft_staking(soft_staking=True).data().success is True
    answer = client.get_soft_staking_product_list(asset="SOL", current=1, size=5, recv_window=10_000)
    assert client.set_soft_staking(soft_staking=False).data().success is True

    listed = answer.data()
    assert listed.status is True
    assert listed.total == 1
    assert (listed.rows[0].asset, listed.rows[0].staked_amount, listed.rows[0].apr) == ("SOL", "12", "0.008")
    assert answer.headers["x-sapi-used-ip-weight-1m"].isdecimal()
    assert client.get_soft_staking_product_list().data().status is False


@pytest.mark.parametrize("kind", KINDS)
def test_the_official_client_reads_the_history_it_asks_for(web: LiveWeb, kind: KeyKind) -> None:
    user = f"past-{kind}"
    first_day = day_of(utc_now()) - timedelta(days=3)
    enrolled_at = start_of(first_day) - timedelta(hours=14)
    web.do(web.world.move(user, "12", "SOL", enrolled_at))
    web.do(web.world.enrol(user, enrolled_at))
    web.do(web.world.snapshot(user, first_day - ONE_DAY))
    for day in (first_day, first_day + ONE_DAY):
        web.do(web.world.pay(user, day))
    client = client_of(web, web.program(user, kind), kind)
    since = milliseconds(utc_now() - timedelta(days=1))

    answer = client.get_soft_staking_rewards_history(asset="SOL", start_time=since, current=1, size=1).data()

    assert answer.total == 2
    (row,) = answer.rows
    assert (row.asset, row.rewards, row.reward_asset, row.avg_amount) == (
        "SOL",
        "0.00026301",
        "SOL",
        "12.00026301",
    )
    assert row.time >= since


def test_the_official_client_meets_the_errors_that_it_knows(web: LiveWeb) -> None:
    user = web.holder("errors", "0.4")
    looks = client_of(web, web.program(user, read_only=True), KeyKind.HMAC)
    sets = client_of(web, web.program(user, region="US", documents={}), KeyKind.HMAC)
    unknown = client_of(web, Program("k" * 64, "s" * 64, str), KeyKind.HMAC)
    nobody = client_of(web, Program("short", "s" * 64, str), KeyKind.HMAC)

    with pytest.raises(ForbiddenError) as forbidden:
        looks.set_soft_staking(soft_staking=True)
    with pytest.raises(BadRequestError) as refused:
        sets.set_soft_staking(soft_staking=True)
    with pytest.raises(UnauthorizedError) as rejected:
        unknown.get_soft_staking_product_list()
    with pytest.raises(UnauthorizedError) as misspelt:
        nobody.get_soft_staking_product_list()
    with pytest.raises(BadRequestError) as malformed:
        looks.get_soft_staking_product_list(size=1000)

    errors = (forbidden, refused, rejected, misspelt, malformed)
    assert [error.value.status_code for error in errors] == [-2015, -26001, -2015, -2014, -1102]
    for reason in ("region_restricted", "document_not_accepted:risk_warning", "no_qualifying_asset"):
        assert f"{reason}: " in str(refused.value)


@pytest.mark.parametrize("wanted", [True, False])
def test_four_simultaneous_repeats_switch_once_and_all_succeed(web: LiveWeb, wanted: bool) -> None:
    user = web.holder(f"repeats-{wanted}")
    client = client_of(web, web.program(user), KeyKind.HMAC)
    if not wanted:
        client.set_soft_staking(soft_staking=True)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.set_soft_staking(soft_staking=wanted), range(4)))

    assert [answer.data().success for answer in answers] == [True] * 4
    assert web.do(enrolments_of(web.world, user)) == [wanted]


def test_stopping_what_was_never_started_succeeds(web: LiveWeb) -> None:
    user = web.holder("never")
    client = client_of(web, web.program(user), KeyKind.HMAC)

    assert client.set_soft_staking(soft_staking=False).data().success is True
    assert web.do(enrolments_of(web.world, user)) == []


def test_an_activation_with_a_key_is_recorded_with_the_key_s_profile(web: LiveWeb) -> None:
    user = web.holder("profile")
    client_of(web, web.program(user, region="FR"), KeyKind.HMAC).set_soft_staking(soft_staking=True)

    rows = web.do(web.world.sql("SELECT region, channel, app_version FROM enrolments WHERE user_id = 'profile'"))
    assert [tuple(row) for row in rows] == [("FR", "api", None)]
    accepted = web.do(
        web.world.sql(
            "SELECT document, version FROM acceptances JOIN enrolments USING (enrolment_id)"
            " WHERE user_id = 'profile'"
        )
    )
    assert dict(map(tuple, accepted)) == SHIPPED_PROGRAM.documents


def test_a_key_made_without_a_region_cannot_start(web: LiveWeb) -> None:
    client = client_of(web, web.program(web.holder("nowhere"), region=None), KeyKind.HMAC)

    with pytest.raises(BadRequestError, match="region_unknown") as refused:
        client.set_soft_staking(soft_staking=True)

    assert refused.value.status_code == -26001
