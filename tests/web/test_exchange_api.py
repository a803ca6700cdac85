"""The endpoints that existing clients speak: what they answer, to whom, and what they refuse."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from web_api import NOW, SAPI, Program, Web, a_web, make_program, milliseconds
from world import World, at, day, program_with

from ledger.api_keys import KeyKind, revoke_key
from ledger.corrections import reverse
from web.key_encryption import EncryptionKeyUnusable

LIST = f"{SAPI}/list"
NOW_MS = milliseconds(NOW)
DAYS = (day("2026-10-02"), day("2026-10-03"))


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    return await a_web(world, tmp_path)


async def enrol_ann(world: World, **tokens: str) -> None:
    """Two credited days: ann held these from the day before Day 1 on."""
    for asset, amount in tokens.items():
        await world.move("ann", amount, asset, at("2026-09-30"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.close("ann", day("2026-10-01"))
    for accrual_day in DAYS:
        await world.close_and_credit("ann", accrual_day)


@pytest.fixture
async def ann(web: Web) -> Program:
    """12 SOL and two credited days."""
    await enrol_ann(web.world, SOL="12")
    return await make_program(web.world, web.settings)


def row_of(answer: Any, asset: str) -> dict[str, Any]:
    (row,) = [row for row in answer["rows"] if row["asset"] == asset]
    return row


# The list.


async def test_the_list_answers_as_documented(web: Web, ann: Program) -> None:
    answer = await web.ask(ann, "/list")

    assert answer["status"] is True
    assert answer["totalRewardsUsdt"] == "0.078903"
    assert answer["total"] == 10
    assert [row["asset"] for row in answer["rows"]] == sorted(row["asset"] for row in answer["rows"])
    assert row_of(answer, "SOL") == {
        "asset": "SOL",
        "minAmount": "1",
        "maxCap": "10000",
        "apr": "0.008",
        "stakedAmount": "12.00052602",
        "totalProfit": "0.00052602",
    }
    assert row_of(answer, "BNB") == {
        "asset": "BNB",
        "minAmount": "0.5",
        "maxCap": "1000",
        "apr": "0.0015",
        "stakedAmount": "0",
        "totalProfit": "0",
    }


@pytest.mark.parametrize(
    ("held", "enrolled", "staked"),
    [
        ("0.99999999", True, "0"),
        ("1", True, "1"),
        ("1.50", True, "1.5"),
        ("20000", True, "10000"),
        ("12", False, "0"),
    ],
)
async def test_the_staked_amount_is_what_can_earn(web: Web, held: str, enrolled: bool, staked: str) -> None:
    await web.world.move("ann", held, "SOL", at("2026-10-05 10:00"))
    await web.world.move("ann", "1", "BNB", at("2026-10-05 10:00"))
    if enrolled:
        await web.world.enrol("ann", at("2026-10-05 11:00"))
    program = await make_program(web.world, web.settings)

    answer = await web.ask(program, "/list")

    assert answer["status"] is enrolled
    assert row_of(answer, "SOL")["stakedAmount"] == staked


async def test_someone_who_was_never_heard_of_sees_the_offer(web: Web) -> None:
    program = await make_program(web.world, web.settings, "nobody")

    answer = await web.ask(program, "/list")

    assert (answer["status"], answer["totalRewardsUsdt"], answer["total"]) == (False, "0", 10)
    assert {(row["stakedAmount"], row["totalProfit"]) for row in answer["rows"]} == {("0", "0")}


async def test_a_reward_that_was_taken_back_is_no_profit(web: Web, ann: Program) -> None:
    _, second = await web.world.statement("ann")
    assert second.entry_id is not None
    await reverse(web.world.ledger, second.entry_id, reason="wrong", operator="tests", now=NOW)

    answer = await web.ask(ann, "/list")

    assert row_of(answer, "SOL")["totalProfit"] == "0.00026301"
    assert answer["totalRewardsUsdt"] == "0.0394515"


async def test_an_asset_that_left_the_program_is_not_offered_and_still_counts(web: Web, ann: Program) -> None:
    content = program_with("2026-10-05").model_dump()
    del content["assets"]["SOL"]
    await web.world.apply(type(program_with()).model_validate(content), now=at("2026-10-04"))

    answer = await web.ask(ann, "/list")

    assert "SOL" not in [row["asset"] for row in answer["rows"]]
    assert answer["totalRewardsUsdt"] == "0.078903"
    history = await web.ask(ann, "/history/rewardsRecord", {"asset": "SOL"})
    assert history["total"] == 2


@pytest.mark.parametrize(
    ("parameters", "assets"),
    [
        ({"size": 3}, ["ADA", "ALGO", "AXS"]),
        ({"size": 3, "current": 2}, ["BNB", "NEAR", "POL"]),
        ({"size": 3, "current": 4}, ["TON"]),
        ({"size": 100, "current": 2}, []),
        ({"current": 99999999999999999999}, []),
        ({}, ["ADA", "ALGO", "AXS", "BNB", "NEAR", "POL", "S", "SOL", "SUI", "TON"]),
    ],
)
async def test_the_list_comes_in_pages(
    web: Web, ann: Program, parameters: dict[str, int], assets: list[str]
) -> None:
    answer = await web.ask(ann, "/list", parameters)

    assert ([row["asset"] for row in answer["rows"]], answer["total"]) == (assets, 10)


async def test_one_asset_can_be_asked_for(web: Web, ann: Program) -> None:
    answer = await web.ask(ann, "/list", {"asset": "SOL"})

    assert ([row["asset"] for row in answer["rows"]], answer["total"]) == (["SOL"], 1)
    assert answer["totalRewardsUsdt"] == "0.078903"


async def test_a_program_sees_its_own_user_only(web: Web, ann: Program) -> None:
    bob = await make_program(web.world, web.settings, "bob")

    assert (await web.ask(bob, "/list"))["status"] is False
    assert (await web.ask(bob, "/history/rewardsRecord"))["total"] == 0
    assert (await web.signed(bob, "/list", {"user": "ann"})).json()["code"] == -1104


# The history.


async def test_the_history_answers_as_documented_the_newest_first(web: Web, ann: Program) -> None:
    answer = await web.ask(ann, "/history/rewardsRecord")

    assert answer == {
        "rows": [
            {
                "asset": "SOL",
                "rewards": "0.00026301",
                "rewardAsset": "SOL",
                "avgAmount": "12.00026301",
                "time": milliseconds(at("2026-10-04 00:01")),
            },
            {
                "asset": "SOL",
                "rewards": "0.00026301",
                "rewardAsset": "SOL",
                "avgAmount": "12",
                "time": milliseconds(at("2026-10-03 00:01")),
            },
        ],
        "total": 2,
    }


async def test_a_day_that_earned_nothing_is_not_in_the_history(web: Web) -> None:
    await enrol_ann(web.world, SOL="12", BNB="0.1", SUI="100")
    program = await make_program(web.world, web.settings)

    answer = await web.ask(program, "/history/rewardsRecord")

    assert [row["asset"] for row in answer["rows"]] == ["SOL", "SUI", "SOL", "SUI"]
    of_sui = await web.ask(program, "/history/rewardsRecord", {"asset": "SUI"})
    assert [row["asset"] for row in of_sui["rows"]] == ["SUI", "SUI"]


@pytest.mark.parametrize(
    ("parameters", "rows"), [({"size": 1}, 1), ({"size": 1, "current": 2}, 1), ({"size": 1, "current": 3}, 0)]
)
async def test_the_history_comes_in_pages(web: Web, ann: Program, parameters: dict[str, int], rows: int) -> None:
    answer = await web.ask(ann, "/history/rewardsRecord", parameters)

    assert (len(answer["rows"]), answer["total"]) == (rows, 2)


FIRST, SECOND = milliseconds(at("2026-10-03 00:01")), milliseconds(at("2026-10-04 00:01"))
THIRTY_DAYS = 30 * 86_400_000


@pytest.mark.parametrize(
    ("parameters", "total"),
    [
        ({"startTime": FIRST, "endTime": SECOND}, 2),
        ({"startTime": FIRST + 1}, 1),
        ({"startTime": (FIRST + 1) * 1000}, 1),
        ({"endTime": SECOND - 1}, 1),
        ({"startTime": FIRST - THIRTY_DAYS}, 1),
        ({"startTime": FIRST - THIRTY_DAYS - 1}, 0),
        ({"endTime": SECOND + THIRTY_DAYS}, 1),
        ({"endTime": SECOND + THIRTY_DAYS + 1}, 0),
        ({"startTime": SECOND - 92 * 86_400_000, "endTime": SECOND}, 2),
        ({"startTime": 0, "endTime": 0}, 0),
        ({"startTime": 99999999999999999999}, 0),
    ],
)
async def test_the_history_is_of_the_time_asked_for(
    web: Web, ann: Program, parameters: dict[str, int], total: int
) -> None:
    assert (await web.ask(ann, "/history/rewardsRecord", parameters))["total"] == total


@pytest.mark.parametrize(("later", "total"), [(timedelta(days=28), 2), (timedelta(days=29), 1)])
async def test_without_a_time_the_history_is_of_the_last_thirty_days(
    web: Web, ann: Program, later: timedelta, total: int
) -> None:
    web.clock.instant = NOW + later - timedelta(hours=12)

    assert (await web.ask(ann, "/history/rewardsRecord"))["total"] == total


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
    # Signed again with another timestamp until both characters that an encoding changes are in it.
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
        ("/list", f"{T}&asset=S_L", -1100, None),
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


async def test_a_key_that_is_unknown_or_revoked_is_refused_alike_and_at_once(web: Web, ann: Program) -> None:
    assert (await web.signed(ann, "/list")).status_code == 200
    await revoke_key(web.world.ledger, ann.api_key, now=NOW)
    unknown = Program("k" * 64, ann.secret, ann.sign)

    answers = [await web.signed(program, "/list") for program in (ann, unknown)]

    expected = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
    assert [(answer.status_code, answer.json()) for answer in answers] == [(401, expected)] * 2


async def test_a_key_that_may_only_look_cannot_set(web: Web, ann: Program) -> None:
    looks = await make_program(web.world, web.settings, read_only=True)

    answers = [await web.signed(looks, "/set", {"softStaking": value}) for value in ("true", "false")]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, -2015)] * 2
    assert (await web.ask(looks, "/list"))["status"] is True


async def test_checks_come_in_order(web: Web, ann: Program) -> None:
    """Of key form, key, parameters, time, signature and permission the first that is wrong is told."""
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


# When something is missing.


@pytest.mark.parametrize(("method", "path", "status"), [("GET", f"{SAPI}/lists", 404), ("POST", LIST, 405)])
async def test_a_path_that_is_none_is_told_as_every_error(web: Web, method: str, path: str, status: int) -> None:
    async with web.from_address() as client:
        response = await client.request(method, path)

    assert response.status_code == status
    assert response.json() == {"code": -5000, "msg": f"Path {path}, Method {method} is invalid"}


async def test_an_encryption_key_that_is_none_is_named_at_the_start(world: World, tmp_path: Path) -> None:
    with pytest.raises(EncryptionKeyUnusable, match="SOFT_STAKING_KEY_ENCRYPTION_KEY"):
        await a_web(world, tmp_path, key_encryption_key="none")


async def test_without_its_encryption_key_the_service_asks_for_patience_and_tells_no_secret(
    web: Web, ann: Program, tmp_path: Path
) -> None:
    (tmp_path / "key-encryption.key").unlink()

    response = await web.signed(ann, "/list")

    assert (response.status_code, response.json()["code"], response.headers["Retry-After"]) == (503, -1001, "1")
    assert str(tmp_path) not in response.text


async def test_without_the_ledger_clients_are_told_to_come_again(web: Web, ann: Program, tmp_path: Path) -> None:
    await web.world.sql("ALTER TABLE accounts RENAME TO accounts_elsewhere")

    response = await web.signed(ann, "/list")

    assert (response.status_code, response.json()["code"]) == (503, -1001)
    assert "accounts" not in response.text
