"""Requests of existing clients: how they are signed, what they may say, who may make them and how often."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from web_api import NOW, SAPI, Program, Web, a_web, make_program, milliseconds
from world import World, at

from ledger.api_keys import KeyKind, revoke_key

LIST = f"{SAPI}/list"
NOW_MS = milliseconds(NOW)


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    return await a_web(world, tmp_path)


@pytest.fixture
async def ann(web: Web) -> Program:
    return await make_program(web.world, web.settings)


# Signatures.


@pytest.mark.parametrize("kind", list(KeyKind))
@pytest.mark.parametrize(
    "query",
    [
        f"timestamp={NOW_MS}&asset=SOL",
        f"asset=SOL&recvWindow=5000&timestamp={NOW_MS}",
        f"timestamp={NOW_MS}&%61sset=%53OL",
        f"&timestamp={NOW_MS}&&asset=SOL&",
    ],
)
async def test_the_signature_is_over_the_query_as_it_was_sent(
    web: Web, ann: Program, kind: KeyKind, query: str
) -> None:
    program = await make_program(web.world, web.settings, "ann", kind)

    response = await web.get(f"{LIST}?{program.query(query)}", program.headers)

    assert (response.status_code, response.json()["total"]) == (200, 1)


@pytest.mark.parametrize("kind", [KeyKind.RSA, KeyKind.ED25519])
async def test_a_signature_in_base64_passes_encoded_or_not(web: Web, kind: KeyKind) -> None:
    program = await make_program(web.world, web.settings, "ann", kind)
    # The request is signed again with another timestamp until the signature has both characters that an encoding
    # changes.
    query = next(
        text
        for text in (f"recvWindow=60000&timestamp={NOW_MS - number}" for number in range(50_000))
        if {"+", "/"} <= set(program.sign(text))
    )

    for signature in (urlencode({"signature": program.sign(query)}), f"signature={program.sign(query)}"):
        response = await web.get(f"{LIST}?{query}&{signature}", program.headers)
        assert response.status_code == 200, response.text


async def test_an_hmac_signature_passes_in_either_case(web: Web, ann: Program) -> None:
    query = f"timestamp={NOW_MS}"

    response = await web.get(f"{LIST}?{query}&signature={ann.sign(query).upper()}", ann.headers)

    assert response.status_code == 200


async def test_what_was_not_signed_so_is_refused(web: Web, ann: Program) -> None:
    query = f"timestamp={NOW_MS}&asset=SOL"
    bob = await make_program(web.world, web.settings, "bob")
    forged = {
        "another parameter": f"timestamp={NOW_MS}&asset=BNB&signature={ann.sign(query)}",
        "another order": f"asset=SOL&timestamp={NOW_MS}&signature={ann.sign(query)}",
        "something after it": f"{query}&signature={ann.sign(query)}&size=5",
        "the signature first": f"signature={ann.sign(query)}&{query}",
        "another's key": f"{query}&signature={bob.sign(query)}",
        "decoded first": f"timestamp={NOW_MS}&asset=%53OL&signature={ann.sign(query)}",
        "another kind of signature": f"{query}&signature=AAAA",
        "a character more": f"{query}&signature={ann.sign(query)}0",
    }

    for what, text in forged.items():
        response = await web.get(f"{LIST}?{text}", ann.headers)
        expected = {"code": -1022, "msg": "Signature for this request is not valid."}
        assert (response.status_code, response.json()) == (400, expected), what


# The time of a request.


@pytest.mark.parametrize("unit", [1, 1000], ids=["milliseconds", "microseconds"])
@pytest.mark.parametrize(
    ("offset_ms", "window", "sentence"),
    [
        (0, None, None),
        (999, None, None),
        (1000, None, "Timestamp for this request was 1000ms ahead of the server's time."),
        (-5000, None, None),
        (-5001, None, "Timestamp for this request is outside of the recvWindow."),
        (-60_000, 60_000, None),
        (-60_001, 60_000, "Timestamp for this request is outside of the recvWindow."),
        (0, 0, None),
        (-1, 0, "Timestamp for this request is outside of the recvWindow."),
        (-100_000_000_000, 60_000, "Timestamp for this request is outside of the recvWindow."),
    ],
)
async def test_a_request_is_valid_within_its_window(
    web: Web, ann: Program, unit: int, offset_ms: int, window: int | None, sentence: str | None
) -> None:
    timestamp = f"timestamp={(NOW_MS + offset_ms) * unit}"
    query = timestamp if window is None else f"recvWindow={window}&{timestamp}"

    response = await web.get(f"{LIST}?{ann.query(query)}", ann.headers)

    if sentence is None:
        assert response.status_code == 200, response.text
    else:
        assert (response.status_code, response.json()) == (400, {"code": -1021, "msg": sentence})


async def test_microseconds_are_counted_to_the_last(web: Web, ann: Program) -> None:
    for offset_us, status in ((999_999, 200), (1_000_000, 400), (-5_000_000, 200), (-5_000_001, 400)):
        query = ann.query(f"timestamp={NOW_MS * 1000 + offset_us}")
        assert (await web.get(f"{LIST}?{query}", ann.headers)).status_code == status, offset_us


@pytest.mark.parametrize(
    ("window", "us_ago", "status"),
    [
        ("5000.0", 5_000_000, 200),
        ("5000.0", 5_000_001, 400),
        ("6000.346", 6_000_346, 200),
        ("6000.346", 6_000_347, 400),
        ("0.001", 1, 200),
        ("0.001", 2, 400),
        ("60000.000", 60_000_000, 200),
    ],
)
async def test_a_window_has_up_to_three_decimals_of_a_millisecond(
    web: Web, ann: Program, window: str, us_ago: int, status: int
) -> None:
    query = ann.query(f"recvWindow={window}&timestamp={NOW_MS * 1000 - us_ago}")

    assert (await web.get(f"{LIST}?{query}", ann.headers)).status_code == status


# Parameters.

T = f"timestamp={NOW_MS}"


@pytest.mark.parametrize(
    ("endpoint", "query", "code", "message"),
    [
        (
            "/list",
            f"{T}&size=1a",
            -1100,
            "Illegal characters found in parameter 'size'; legal range is '^[0-9]{1,20}$'.",
        ),
        ("/list", f"{T}&size=-1", -1100, None),
        ("/list", f"{T}&size=1%0A", -1100, None),
        ("/list", f"{T}&size=%D9%A1", -1100, None),
        ("/list", f"{T}&current=1.5", -1100, None),
        ("/list", f"{T}&asset=S%20L", -1100, None),
        ("/list", f"{T}&asset=%FF", -1100, "Illegal characters found in a parameter."),
        ("/list", f"{T}&%FF=1", -1100, None),
        ("/list", "timestamp=now", -1100, None),
        ("/list", f"{T}&recvWindow=5e3", -1100, None),
        ("/list", f"{T}&size=1&size=2", -1101, "Duplicate values for a parameter detected."),
        ("/list", f"{T}&size=1&%73ize=1", -1101, None),
        ("/list", f"{T}&{T}", -1101, None),
        ("/list", f"{T}&size=0", -1102, "Parameter 'size' was malformed: it is a number from 1 to 100."),
        ("/list", f"{T}&size=101", -1102, None),
        ("/list", f"{T}&current=0", -1102, None),
        (
            "/list",
            "size=1",
            -1102,
            "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.",
        ),
        ("/set", T, -1102, "Mandatory parameter 'softStaking' was not sent, was empty/null, or malformed."),
        ("/set", f"{T}&softStaking=yes", -1102, None),
        ("/set", f"{T}&softStaking=1", -1102, None),
        (
            "/list",
            f"{T}&startTime=1",
            -1104,
            "Not all sent parameters were read; read '2' parameter(s) but was sent '3'.",
        ),
        ("/set", f"{T}&softStaking=true&asset=SOL", -1104, None),
        ("/list", f"{T}&asset=", -1105, "Parameter 'asset' was empty."),
        ("/list", f"{T}&asset", -1105, None),
        ("/list", "timestamp=", -1105, None),
        ("/set", f"{T}&softStaking=", -1105, None),
        ("/list", f"{T}&asset=XYZ", -1121, "Invalid asset."),
        ("/list", f"{T}&asset=sol", -1121, None),
        ("/history/rewardsRecord", f"{T}&asset=XYZ", -1121, None),
        (
            "/history/rewardsRecord",
            f"{T}&startTime={NOW_MS - 93 * 86_400_000}&endTime={NOW_MS}",
            -1127,
            "Lookup interval is too big. More than 3 months between startTime and endTime.",
        ),
        ("/history/rewardsRecord", f"{T}&startTime=2&endTime=1", -1128, None),
        (
            "/list",
            f"{T}&recvWindow=5000.0001",
            -1100,
            r"Illegal characters found in parameter 'recvWindow'; legal range is '^[0-9]{1,20}(\.[0-9]{1,3})?$'.",
        ),
        ("/list", f"{T}&recvWindow=.5", -1100, None),
        ("/list", f"{T}&recvWindow=5.", -1100, None),
        ("/list", f"{T}&recvWindow=-5", -1100, None),
        ("/list", f"{T}&recvWindow=5,5", -1100, None),
        ("/list", f"{T}&recvWindow=", -1105, None),
        ("/list", f"{T}&recvWindow=60000.001", -1131, None),
        ("/list", f"{T}&recvWindow=99999999999999999999.999", -1131, None),
        ("/list", f"{T}&recvWindow=60001", -1131, "recvWindow must be less than 60000."),
    ],
)
async def test_a_parameter_that_cannot_be_read_is_named(
    web: Web, ann: Program, endpoint: str, query: str, code: int, message: str | None
) -> None:
    response = await web.get(f"{SAPI}{endpoint}?{ann.query(query)}", ann.headers)

    answer = response.json()
    assert (response.status_code, answer.keys(), answer["code"]) == (400, {"code", "msg"}, code)
    assert message in (None, answer["msg"])


async def test_a_request_that_was_not_signed_at_all_misses_its_signature(web: Web, ann: Program) -> None:
    for query, code in ((T, -1102), (f"{T}&signature=", -1105), ("", -1102)):
        response = await web.get(f"{LIST}?{query}", ann.headers)
        assert (response.status_code, response.json()["code"]) == (400, code), query


# Keys.


@pytest.mark.parametrize("key", [None, "", "short", "k" * 63, "k" * 65, "k" * 63 + "-", "ключ"])
async def test_a_key_of_another_form_is_refused(web: Web, key: str | None) -> None:
    headers = {} if key is None else {"X-MBX-APIKEY": key.encode()}
    async with web.from_address() as client:
        response = await client.get(f"{LIST}?{T}&signature=0", headers=headers)

    assert (response.status_code, response.json()) == (401, {"code": -2014, "msg": "API-key format invalid."})


async def test_an_unknown_key_and_a_revoked_one_are_refused_alike_and_immediately(web: Web, ann: Program) -> None:
    assert (await web.signed(ann, "/list")).status_code == 200
    await revoke_key(web.world.ledger, ann.api_key, operator="tests", now=NOW)
    unknown = Program("k" * 64, ann.secret, ann.sign)

    answers = [await web.signed(program, "/list") for program in (ann, unknown)]

    expected = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
    assert [(answer.status_code, answer.json()) for answer in answers] == [(401, expected)] * 2


async def test_a_key_that_may_only_look_cannot_set(web: Web) -> None:
    await web.world.move("ann", "12", "SOL", at("2026-10-01"))
    await web.world.enrol("ann", at("2026-10-01 10:00"))
    looks = await make_program(web.world, web.settings, read_only=True)

    answers = [await web.signed(looks, "/set", {"softStaking": value}) for value in ("true", "false")]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, -2015)] * 2
    assert (await web.ask(looks, "/list"))["status"] is True


async def test_checks_come_in_order(web: Web, ann: Program) -> None:
    """Key form, key, parameters, time, signature and permission are tested in this order, and the first error is
    the answer."""
    looks = await make_program(web.world, web.settings, read_only=True)
    late = f"softStaking=true&timestamp={NOW_MS - 10_000}"
    wrong = [
        ({"X-MBX-APIKEY": "short"}, "size=x", -2014),
        ({"X-MBX-APIKEY": "k" * 64}, "size=x", -2015),
        (looks.headers, f"{late}&x=1&signature=0", -1104),
        (looks.headers, f"{late}&signature=0", -1021),
        (looks.headers, f"softStaking=true&{T}&signature=0", -1022),
        (looks.headers, looks.query(f"softStaking=true&{T}"), -2015),
    ]

    codes = [(await web.get(f"{SAPI}/set?{query}", headers)).json()["code"] for headers, query, _ in wrong]

    assert codes == [code for _, _, code in wrong]


# Limits.


async def test_each_call_weighs_fifty_whatever_becomes_of_it(web: Web, ann: Program) -> None:
    responses = [
        await web.signed(ann, "/list"),
        await web.get(LIST),
        await web.signed(ann, "/history/rewardsRecord"),
        await web.signed(ann, "/list", {"size": 0}),
    ]

    assert [response.headers["x-sapi-used-ip-weight-1m"] for response in responses] == ["50", "100", "150", "200"]


async def test_over_the_limit_an_address_must_wait_for_the_next_minute(world: World, tmp_path: Path) -> None:
    web = await a_web(world, tmp_path, weight_per_minute=100)
    ann = await make_program(world, web.settings)
    web.clock.instant = NOW + timedelta(seconds=18)

    responses = [await web.signed(ann, "/list") for _ in range(3)]

    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[2].json() == {
        "code": -1003,
        "msg": "Too much request weight used; current limit is 100 request weight per 1 MINUTE.",
    }
    assert responses[2].headers["Retry-After"] == "42"
    assert responses[2].headers["x-sapi-used-ip-weight-1m"] == "150"
    web.clock.instant += timedelta(seconds=42)
    assert (await web.signed(ann, "/list")).status_code == 200


async def test_one_address_does_not_use_up_another_s_limit(world: World, tmp_path: Path) -> None:
    web = await a_web(world, tmp_path, weight_per_minute=100)
    ann, bob = [await make_program(world, web.settings, user) for user in ("ann", "bob")]
    for _ in range(3):
        await web.signed(ann, "/list")

    async with web.from_address("203.0.113.2") as client:
        response = await client.get(f"{LIST}?{bob.asking({})}", headers=bob.headers)

    assert response.status_code == 200


async def test_a_key_has_the_same_limit_wherever_it_is_used_from(world: World, tmp_path: Path) -> None:
    web = await a_web(world, tmp_path, weight_per_minute=100)
    ann = await make_program(world, web.settings)
    statuses: list[int] = []
    for number in range(3):
        async with web.from_address(f"203.0.113.{number}") as client:
            response = await client.get(f"{LIST}?{ann.asking({})}", headers=ann.headers)
            statuses.append(response.status_code)

    assert statuses == [200, 200, 429]


async def test_whoever_knows_a_key_and_not_its_secret_cannot_use_up_its_limit(
    world: World, tmp_path: Path
) -> None:
    web = await a_web(world, tmp_path, weight_per_minute=100)
    ann = await make_program(world, web.settings)
    thief = Program(ann.api_key, "", lambda payload: "0" * 64)
    async with web.from_address("203.0.113.2") as client:
        for _ in range(3):
            await client.get(f"{LIST}?{thief.asking({})}", headers=thief.headers)

    assert (await web.signed(ann, "/list")).status_code == 200


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "counted_as_one"),
    [
        ("", "203.0.113.1", ["198.51.100.1", "198.51.100.2"], True),
        ("10.0.0.0/8", "203.0.113.1", ["198.51.100.1", "198.51.100.2"], True),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1", "198.51.100.2"], False),
        ("10.0.0.0/8", "10.0.0.1", ["9.9.9.1, 198.51.100.1", "9.9.9.2, 198.51.100.1"], True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", ["198.51.100.1", "198.51.100.2"], False),
        ("10.0.0.0/8, ::1", "::1", ["198.51.100.1, 10.0.0.2", "198.51.100.2, 10.0.0.2"], False),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1, nonsense", "198.51.100.2, nonsense"], True),
    ],
)
async def test_only_a_proxy_of_ours_says_whom_a_request_is_from(
    world: World, tmp_path: Path, trusted: str, peer: str, forwarded: list[str], counted_as_one: bool
) -> None:
    web = await a_web(world, tmp_path, trusted_proxies=trusted)
    used: list[str] = []
    async with web.from_address(peer) as client:
        for header in forwarded:
            response = await client.get(LIST, headers={"X-Forwarded-For": header})
            used.append(response.headers["x-sapi-used-ip-weight-1m"])

    assert used == (["50", "100"] if counted_as_one else ["50", "50"])
