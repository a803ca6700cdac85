"""The OpenAPI document: every endpoint is told, and generators make clients of it."""

from product_service import of
from web_api import SAPI, Web


async def test_the_openapi_has_every_endpoint_with_examples(web: Web) -> None:
    document = (await web.get("/openapi.json")).json()

    assert sorted(document["paths"]) == [
        "/api/v3/ping",
        "/api/v3/time",
        f"{SAPI}/history/rewardsRecord",
        f"{SAPI}/list",
        f"{SAPI}/set",
        "/sapi/v1/system/status",
        *(of("{user}", what) for what in ("activate", "deactivate", "eligibility", "estimate")),
        *(of("{user}", what) for what in ("rewards", "status", "tag")),
        "/v1/credits",
        "/v1/events",
        "/v1/movements",
        "/v1/program",
        "/v1/reconciliation/{day}",
        "/v1/sources",
        "/v1/sources/{name}",
    ]
    schemas = document["components"]["schemas"]
    for name in (
        "AccountStatus",
        "RewardsPage",
        "TagAnswer",
        "MovementsAnswer",
        "SourceAnswer",
        "ReconciliationAnswer",
        "CreditsAnswer",
        "EventsAnswer",
        "ProgramAnswer",
        "EligibilityAnswer",
        "EstimateAnswer",
        "ProblemDetails",
        "ProductList",
        "RewardsHistory",
    ):
        assert schemas[name]["examples"], name
    activate = document["paths"][of("{user}", "activate")]["post"]
    assert activate["requestBody"]["content"]["application/json"]["examples"]
    assert activate["responses"].keys() == {"200", *map(str, (400, 401, 403, 409, 411, 413, 422, 429, 503))}
    assert activate["responses"]["409"]["content"].keys() == {"application/problem+json"}
    assert set(document["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}


async def test_the_openapi_is_one_that_generators_make_clients_of(web: Web) -> None:
    document = (await web.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]

    assert [server["url"] for server in document["servers"]] == ["/", "http://127.0.0.1:8080"]
    assert sorted(operation["operationId"] for operation in operations) == [
        "activateAccount",
        "deactivateAccount",
        "getAccountEligibility",
        "getAccountEstimate",
        "getAccountRewards",
        "getAccountStatus",
        "getAccountTag",
        "getCredits",
        "getEvents",
        "getProgram",
        "getReconciliation",
        "getServerTime",
        "getSoftStakingProductList",
        "getSoftStakingRewardsHistory",
        "getSources",
        "getSystemStatus",
        "ping",
        "postMovements",
        "putSource",
        "setSoftStaking",
    ]
    for operation in operations:
        assert operation["summary"], operation["operationId"]
        assert operation["description"], operation["operationId"]
        assert all(parameter["description"] for parameter in operation.get("parameters", []))
        for media_type in operation.get("requestBody", {"content": {}})["content"].values():
            # A generated client cannot send a body that may be null by default.
            assert media_type["schema"]["$ref"], operation["operationId"]
    assert "requestBody" in document["paths"][of("{user}", "deactivate")]["post"]
    assert not document["paths"][of("{user}", "deactivate")]["post"]["requestBody"].get("required", False)
