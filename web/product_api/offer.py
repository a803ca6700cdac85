"""The offer, and what it would mean for an account: GET /v1/program, …/eligibility and …/estimate."""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from ledger.database.program_memory import ProgramVersion
from ledger.enrolments import is_enrolled, reasons_against
from ledger.holdings import holdings_before
from ledger.programs import all_versions, in_force_on, no_program_on, program_on, timetable
from ledger.service_tokens import Scope
from staking.days import day_of, first_accrual_day
from staking.estimate import estimate
from staking.models import Activation, RefusalReason, UserId
from staking.money import Units
from staking.rewards import Outcome
from web.access.bearer import Bearers
from web.problems import problem_responses
from web.product_api.known_parameters import only_known_parameters
from web.service import Service

_ACCOUNT = "/v1/accounts/{user}/soft-staking"
User = Annotated[
    UserId, Path(description="The user's opaque id.", pattern="^[A-Za-z0-9._-]{1,64}$", examples=["1001"])
]
_EXAMPLE_DOCUMENTS: Any = [
    {"name": "terms_of_use", "version": "2026-01-01"},
    {"name": "soft_staking_terms", "version": "2026-01-01"},
    {"name": "risk_warning", "version": "2026-01-01"},
]


class Document(BaseModel):
    """A document that a user must be shown and must accept."""

    name: str
    version: str


class AssetOffer(BaseModel):
    """The terms of one asset, as written in the program."""

    asset: str
    minimum: str = Field(description="In tokens. A day with a smaller average earns nothing.")
    cap: str = Field(description="In tokens. Above it nothing more is earned.")
    apr: str = Field(description="A fraction of 1 per 365 days.")
    reference_price_usdt: str
    paused: bool


class ProgramTerms(BaseModel):
    """One version of the program."""

    version: int
    effective_from: date
    minimum_app_version: str
    restricted_regions: list[str] = Field(description="ISO 3166-1 or 3166-2; a country covers its subdivisions.")
    documents: list[Document] = Field(description="The documents to be shown and accepted, each in this version.")
    assets: list[AssetOffer]


class ProgramAnswer(BaseModel):
    """The program in force today, and the next one if there is one already."""

    in_force: ProgramTerms
    upcoming: ProgramTerms | None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "in_force": {
                        "version": 1,
                        "effective_from": "2026-01-01",
                        "minimum_app_version": "3.1.0",
                        "restricted_regions": ["US", "UA-43"],
                        "documents": _EXAMPLE_DOCUMENTS,
                        "assets": [
                            {
                                "asset": "SOL",
                                "minimum": "1",
                                "cap": "10000",
                                "apr": "0.008",
                                "reference_price_usdt": "150",
                                "paused": False,
                            }
                        ],
                    },
                    "upcoming": None,
                }
            ]
        }
    )


class EligibilityAnswer(BaseModel):
    """Whether an account could be activated now, once its user accepts the documents."""

    user: str
    eligible: bool
    enrolled: bool = Field(description="Whether it is activated already.")
    reasons: list[RefusalReason] = Field(
        description="Every reason against an activation; empty if the account is eligible."
    )
    documents: list[Document] = Field(
        description="The documents that must be shown and accepted with the activation."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user": "1001",
                    "eligible": False,
                    "enrolled": False,
                    "reasons": [
                        {"code": "region_restricted", "sentence": "Soft Staking is not offered in region US."}
                    ],
                    "documents": _EXAMPLE_DOCUMENTS,
                }
            ]
        }
    )


class AssetEstimate(BaseModel):
    """What one asset would earn."""

    asset: str
    holding: Units
    outcome: Outcome = Field(description="The outcome of a day, which says why it earns nothing, if so.")
    day: Units = Field(description="The reward of one day.")
    year: Units = Field(description="The rewards of 365 days, each of which counts in the days after it.")
    day_usdt: Units = Field(description="At the program's reference price, rounded down.")
    year_usdt: Units


class EstimateAnswer(BaseModel):
    """What an account would earn if its holdings stay as they are. This is an estimate and no promise."""

    user: str
    first_day: date = Field(description="The first of these days, whose terms are taken for all of them.")
    assets: list[AssetEstimate] = Field(description="Every asset of the program, by code.")
    day_usdt: Units
    year_usdt: Units

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user": "1001",
                    "first_day": "2026-10-02",
                    "assets": [
                        {
                            "asset": "SOL",
                            "holding": "10.12500000",
                            "outcome": "earned",
                            "day": "0.00022191",
                            "year": "0.08132216",
                            "day_usdt": "0.03328650",
                            "year_usdt": "12.19832400",
                        }
                    ],
                    "day_usdt": "0.03328650",
                    "year_usdt": "12.19832400",
                }
            ]
        }
    )


def routes(service: Service, bearers: Bearers) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["product services"], responses=problem_responses(401, 403, 409, 422, 429, 503))
    offer = _Offer(service)
    may = [bearers.may(Scope.READ), only_known_parameters()]
    router.add_api_route(
        "/v1/program",
        offer.program,
        response_model=ProgramAnswer,
        dependencies=may,
        operation_id="getProgram",
        summary="The terms in force, and the documents to show",
        description="Of today, and of the next version if one was applied already. Refused while no program is in "
        "force.",
    )
    router.add_api_route(
        f"{_ACCOUNT}/eligibility",
        offer.eligibility,
        response_model=EligibilityAnswer,
        dependencies=may,
        operation_id="getAccountEligibility",
        summary="Whether an account could be activated, with every reason against it",
        description="By the rules of an activation itself, of which the documents are taken as accepted. Nothing "
        "is written.",
    )
    router.add_api_route(
        f"{_ACCOUNT}/estimate",
        offer.estimate,
        response_model=EstimateAnswer,
        dependencies=may,
        operation_id="getAccountEstimate",
        summary="What an account would earn in a day and in a year",
        description="From what it holds now, by the rules of the rewards themselves, whether it is activated or "
        "not. Region and channel are not looked at.",
    )
    return router


class _Offer:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def program(self) -> ProgramAnswer:
        today = day_of(self._service.now())
        async with self._service.ledger.read() as connection:
            spans = timetable(await all_versions(connection))
        now = in_force_on(spans, today)
        if now is None:
            raise no_program_on(today)
        upcoming = next((span for span in spans if span.first_day > today), None)
        return ProgramAnswer(in_force=_terms(now.version), upcoming=upcoming and _terms(upcoming.version))

    async def eligibility(
        self,
        user: User,
        region: Annotated[
            str,
            Query(
                pattern="^[A-Za-z]{2}(-[A-Za-z0-9]{1,3})?$",
                description="ISO 3166-1 or 3166-2.",
                examples=["FR"],
            ),
        ],
        channel: Annotated[
            Literal["web", "app", "api"], Query(description="Where; on `app` the app's version is tested.")
        ],
        app_version: Annotated[
            str | None,
            Query(
                pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){0,3}$",
                description="Needed on `app`.",
                examples=["3.1.0"],
            ),
        ] = None,
    ) -> EligibilityAnswer:
        now = self._service.now()
        async with self._service.ledger.read() as connection:
            program = (await program_on(connection, day_of(now))).program
            activation = Activation(
                region=region, channel=channel, app_version=app_version, documents=program.documents
            )
            reasons = await reasons_against(connection, user, activation, program, now)
            enrolled = await is_enrolled(connection, user)
        return EligibilityAnswer(
            user=user,
            eligible=not reasons,
            enrolled=enrolled,
            reasons=reasons,
            documents=_documents(program.documents),
        )

    async def estimate(self, user: User) -> EstimateAnswer:
        now = self._service.now()
        first_day = first_accrual_day(now)
        async with self._service.ledger.read() as connection:
            program = (await program_on(connection, first_day)).program
            holdings = await holdings_before(connection, user, now, inclusive=True)
        assets: list[AssetEstimate] = []
        for asset, terms in sorted(program.assets.items()):
            holding = holdings.get(asset, 0)
            found = estimate(holding, terms, first_day)
            assets.append(
                AssetEstimate(
                    asset=asset,
                    holding=holding,
                    outcome=found.outcome,
                    day=found.of_a_day,
                    year=found.of_a_year,
                    day_usdt=terms.reference_value(found.of_a_day),
                    year_usdt=terms.reference_value(found.of_a_year),
                )
            )
        return EstimateAnswer(
            user=user,
            first_day=first_day,
            assets=assets,
            day_usdt=sum(each.day_usdt for each in assets),
            year_usdt=sum(each.year_usdt for each in assets),
        )


def _terms(version: ProgramVersion) -> ProgramTerms:
    program = version.program
    return ProgramTerms(
        version=version.version,
        effective_from=program.effective_from,
        minimum_app_version=program.minimum_app_version,
        restricted_regions=program.restricted_regions,
        documents=_documents(program.documents),
        assets=[
            AssetOffer(
                asset=asset,
                minimum=terms.minimum,
                cap=terms.cap,
                apr=terms.apr,
                reference_price_usdt=terms.reference_price,
                paused=terms.paused,
            )
            for asset, terms in program.assets.items()
        ],
    )


def _documents(documents: dict[str, str]) -> list[Document]:
    return [Document(name=name, version=version) for name, version in documents.items()]
