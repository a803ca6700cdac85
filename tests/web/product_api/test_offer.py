"""The terms, whether an account may be activated, and what it would earn: told without changing anything."""

from pathlib import Path
from typing import Any

import pytest
from web_api import NOW, Web, a_web, make_token
from world import SHIPPED_PROGRAM, World, activation, at, day, program_with, units

from contract.answers import Refusal
from contract.requests import EnrolRequest
from ledger.enrolments import enrol
from ledger.service_tokens import Scope
from staking.estimate import estimate
from staking.money import format_amount

DOCUMENTS = [{"name": name, "version": version} for name, version in SHIPPED_PROGRAM.documents.items()]


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    return await a_web(world, tmp_path)


async def asked(web: Web, path: str) -> Any:
    response = await web.get(path, await make_token(web.world, Scope.READ))
    assert response.status_code == 200, response.text
    return response.json()


def of(user: str, what: str) -> str:
    return f"/v1/accounts/{user}/soft-staking/{what}"


async def test_the_program_in_force_is_told_with_the_documents_to_show(web: Web) -> None:
    answer = await asked(web, "/v1/program")

    terms = answer["in_force"]
    shipped = SHIPPED_PROGRAM.model_dump(mode="json")
    assert (terms["version"], terms["documents"], answer["upcoming"]) == (1, DOCUMENTS, None)
    for name in ("effective_from", "minimum_app_version", "restricted_regions"):
        assert terms[name] == shipped[name]
    assert {
        asset.pop("asset"): {"reference_price": asset.pop("reference_price_usdt"), **asset}
        for asset in terms["assets"]
    } == shipped["assets"]


async def test_a_version_that_is_applied_for_later_is_told_before_it_is_in_force(web: Web) -> None:
    await web.world.apply(program_with("2026-11-01", SOL={"apr": "0.01"}), NOW)

    answer = await asked(web, "/v1/program")

    assert (answer["in_force"]["version"], answer["upcoming"]["version"]) == (1, 2)
    assert answer["upcoming"]["effective_from"] == "2026-11-01"


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("region=FR&channel=web", []),
        ("region=fr&channel=app&app_version=3.10", []),
        ("region=US&channel=app&app_version=3.0.9", ["region_restricted", "app_version_too_old"]),
        ("region=UA-43&channel=app", ["region_restricted", "app_version_too_old"]),
        ("region=US-NY&channel=api", ["region_restricted"]),
    ],
)
async def test_eligibility_lists_every_reason_that_an_activation_would(
    web: Web, query: str, codes: list[str]
) -> None:
    await web.world.move("holder", "12", "SOL", at("2026-10-05 11:59"))
    token = await make_token(web.world, Scope.READ)
    before = await web.world.everything()

    holder, nobody = [
        (await web.get(f"{of(user, 'eligibility')}?{query}", token)).json() for user in ("holder", "nobody")
    ]

    assert [reason["code"] for reason in holder["reasons"]] == codes
    assert [reason["code"] for reason in nobody["reasons"]] == [*codes, "no_qualifying_asset"]
    assert (holder["eligible"], holder["enrolled"], holder["documents"]) == (not codes, False, DOCUMENTS)
    assert await web.world.everything() == before


async def test_the_reasons_are_those_of_the_activation_itself(web: Web) -> None:
    refused = await enrol(
        web.world.ledger,
        EnrolRequest(
            user_id="poor",
            enrolment_id="e-1",
            activation=activation(region="US"),
            activated_at=NOW,
            now=NOW,
            generation=0,
        ),
    )
    assert isinstance(refused, Refusal)

    answer = await asked(web, f"{of('poor', 'eligibility')}?region=US&channel=web")

    assert answer["reasons"] == [reason.model_dump() for reason in refused.reasons]


async def test_an_enrolled_account_is_told_as_such(web: Web) -> None:
    await web.world.move("ann", "12", "SOL", at("2026-10-05 09:00"))
    await web.world.enrol("ann", at("2026-10-05 10:00"))

    answer = await asked(web, f"{of('ann', 'eligibility')}?region=FR&channel=web")

    assert (answer["eligible"], answer["enrolled"]) == (True, True)


async def test_an_estimate_is_what_the_rules_make_of_the_holdings_from_the_first_whole_day_on(web: Web) -> None:
    await web.world.move("ann", "10.125", "SOL", at("2026-10-05 09:00"))
    await web.world.move("ann", "0.5", "BNB", at("2026-10-05 09:00"))
    await web.world.apply(program_with("2026-10-06", BNB={"minimum": "1"}), NOW)
    sol = estimate(units("10.125"), SHIPPED_PROGRAM.assets["SOL"], day("2026-10-06"))

    answer = await asked(web, of("ann", "estimate"))

    by_asset = {each["asset"]: each for each in answer["assets"]}
    assert list(by_asset) == sorted(SHIPPED_PROGRAM.assets)
    value = SHIPPED_PROGRAM.assets["SOL"].reference_value
    worth = {"day_usdt": format_amount(value(sol.of_a_day)), "year_usdt": format_amount(value(sol.of_a_year))}
    assert by_asset["SOL"] == {
        "asset": "SOL",
        "holding": "10.12500000",
        "outcome": "earned",
        "day": "0.00022191",
        "year": format_amount(sol.of_a_year),
        **worth,
    }
    assert (by_asset["BNB"]["outcome"], by_asset["BNB"]["day"]) == ("below_minimum", "0.00000000")
    assert {name: answer[name] for name in ("user", "first_day", *worth)} == {
        "user": "ann",
        "first_day": "2026-10-06",
        **worth,
    }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "region=FR",
        "channel=web",
        "region=FRA&channel=web",
        "region=FR&channel=fax",
        "region=FR&channel=app&app_version=new",
        "region=FR&channel=app&app_version=",
        "region=FR&channel=web&more=1",
    ],
)
async def test_eligibility_of_what_cannot_be_read_is_an_invalid_request(web: Web, query: str) -> None:
    response = await web.get(f"{of('ann', 'eligibility')}?{query}", await make_token(web.world, Scope.READ))

    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")


@pytest.mark.parametrize(
    "path", ["/v1/program", of("ann", "estimate"), f"{of('ann', 'eligibility')}?region=FR&channel=web"]
)
async def test_without_a_program_in_force_and_without_the_scope_it_is_refused(web: Web, path: str) -> None:
    web.clock.instant = at("2019-12-31 12:00")

    assert (await web.get(path, await make_token(web.world, Scope.READ))).status_code == 409
    assert (await web.get(path, await make_token(web.world, Scope.MOVE))).status_code == 403
