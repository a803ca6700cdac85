"""How an exchange's systems send movements: POST /v1/movements."""

import json
import logging
import zlib
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from ledger.errors import ClockIsWrong, LedgerUnavailable
from ledger.feed.deciding import MovementOutcome, Status
from ledger.feed.posting import post_feed
from ledger.feed.reading import ID_LENGTH_MAX, MOVEMENTS_MAX, SentMovement, arrived, check_id
from ledger.service_tokens import Scope
from staking.models import Instant, Model, RefusalReason
from web.access.bearer import Bearers
from web.body_limits import route_with_bodies_up_to
from web.problems import Problem, problem_responses
from web.product_api.known_parameters import only_known_parameters
from web.service import Service

_log = logging.getLogger(__name__)
BODY_BYTES_MAX = 1_048_576
"""The limit of a body's length, both as it is sent and after it is unpacked."""
_GZIP = 16 + zlib.MAX_WBITS

_Id = Annotated[str, Field(min_length=1, max_length=ID_LENGTH_MAX), AfterValidator(check_id)]


class Movement(Model):
    """One change of a user's spot balance. The content of its fields is tested for each movement by itself."""

    id: _Id = Field(description="An id of your own, the idempotency key.", examples=["wallet-81723"])
    user: str = Field(description="The user's opaque id: 1 to 64 of A-Z a-z 0-9 . _ -", examples=["1001"])
    asset: str = Field(description="1 to 32 printable characters without blanks.", examples=["SOL"])
    amount: str = Field(description="A signed number of tokens with at most 8 decimals, not 0.", examples=["-3.5"])
    at: str = Field(
        description="When it happened: RFC 3339 with Z or an offset. Digits after the microseconds are cut off.",
        examples=["2026-10-01T06:00:00.000001Z"],
    )
    group: _Id | None = Field(
        default=None,
        description="All movements of this request with the same group are posted, or none is (a trade).",
    )


class MovementsRequest(Model):
    """Movements in the order in which they apply."""

    movements: list[Movement] = Field(min_length=1, max_length=MOVEMENTS_MAX)


class MovementResult(BaseModel):
    """What became of one movement."""

    id: str
    status: Status = Field(
        description="`posted` now; `repeated`: it was posted before; `refused`: it is kept until it can be posted."
    )
    counts_from: Instant | None = Field(
        description="The instant from which it counts: when it happened, but not in a closed day. If no source is "
        "registered, it does not count before the user's latest movement either."
    )
    reason: RefusalReason | None = Field(description="Why it was refused.")


class MovementsAnswer(BaseModel):
    """A result for each movement, in the order in which they were sent."""

    results: list[MovementResult]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "results": [
                        {
                            "id": "wallet-81723",
                            "status": "posted",
                            "counts_from": "2026-10-01T06:00:00.000001Z",
                            "reason": None,
                        },
                        {
                            "id": "wallet-81724",
                            "status": "refused",
                            "counts_from": None,
                            "reason": {
                                "code": "insufficient_balance",
                                "sentence": "user 1001's SOL balance is 1.00000000, which does not "
                                "allow -3.50000000",
                            },
                        },
                    ]
                }
            ]
        }
    )


_EXAMPLES: dict[str, Any] = {
    "a deposit, and a trade": {
        "value": {
            "movements": [
                {"id": "d-1", "user": "1001", "asset": "SOL", "amount": "12", "at": "2026-10-01T06:00:00Z"},
                {
                    "id": "t-1a",
                    "user": "1001",
                    "asset": "SOL",
                    "amount": "-3.5",
                    "at": "2026-10-01T07:00:00Z",
                    "group": "t-1",
                },
                {
                    "id": "t-1b",
                    "user": "1001",
                    "asset": "USDT",
                    "amount": "525",
                    "at": "2026-10-01T07:00:00Z",
                    "group": "t-1",
                },
            ]
        }
    }
}


class _UnpackedRequest(Request):
    """A request whose body may be packed."""

    _unpacked: bytes | None = None

    async def body(self) -> bytes:
        """The unpacked body. Raises HTTPException if it cannot be unpacked, or would be too long."""
        if self._unpacked is None:
            self._unpacked = _unpack(await super().body(), self.headers.get("content-encoding", "identity"))
        return self._unpacked


def _unpack(body: bytes, encoding: str) -> bytes:
    if encoding.lower() == "identity":
        return body
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body is sent as it is, or with gzip alone")
    unpacked = bytearray()
    while body:
        member = zlib.decompressobj(_GZIP)
        try:
            unpacked += member.decompress(body, BODY_BYTES_MAX + 1 - len(unpacked))
        except zlib.error as error:
            raise HTTPException(
                HTTPStatus.BAD_REQUEST, f"the body is said to be gzip, and is not: {error}"
            ) from None
        if len(unpacked) > BODY_BYTES_MAX:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a body has at most {BODY_BYTES_MAX} bytes once it is unpacked",
            )
        if not member.eof:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is gzip whose end is missing")
        body = member.unused_data
    return bytes(unpacked)


class _PackedBodyRoute(route_with_bodies_up_to(BODY_BYTES_MAX)):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_unpacked(request: Request) -> Response:
            return await handle(_UnpackedRequest(request.scope, request.receive))

        return handle_unpacked


def routes(service: Service, bearers: Bearers) -> APIRouter:
    """The routes of feeds."""
    router = APIRouter(
        tags=["feeds"],
        route_class=_PackedBodyRoute,
        dependencies=[bearers.may(Scope.MOVE), only_known_parameters()],
        responses=problem_responses(400, 401, 403, 411, 413, 415, 422, 429, 503),
    )
    router.add_api_route(
        "/v1/movements",
        _Movements(service).post,
        methods=["POST"],
        response_model=MovementsAnswer,
        operation_id="postMovements",
        summary="Deposits, withdrawals and trades of any users, in order; a repeat changes nothing",
        description="Durable after the answer. A movement that cannot be posted is refused and kept. It does not "
        "hold up the others. The body may be sent with `Content-Encoding: gzip`.",
    )
    return router


class _Movements:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._queue = service.ledger.item_queue(post_feed, items_max=MOVEMENTS_MAX)

    async def post(self, request: Annotated[MovementsRequest, Body(openapi_examples=_EXAMPLES)]) -> Response:
        now = self._service.now()
        sent = [
            SentMovement(one.id, one.user, one.asset, one.amount, one.at, one.group) for one in request.movements
        ]
        try:
            outcomes = await self._queue.answer([arrived(one, now) for one in sent])
        except ClockIsWrong:
            raise
        except LedgerUnavailable as error:
            raise _unanswered(error) from error
        text = json.dumps({"results": [_result(outcome) for outcome in outcomes]}, ensure_ascii=False)
        return Response(text.encode(), media_type="application/json")


def _unanswered(error: LedgerUnavailable) -> Problem:
    """The problem for a request whose answer from the ledger did not come: the ledger may have recorded it."""
    _log.error("%s", error)
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "no-answer",
        "No answer",
        "the ledger has not answered in time, so this may be recorded or not; a repeat is safe",
        headers={"Retry-After": "5"},
    )


def _result(outcome: MovementOutcome) -> dict[str, Any]:
    counts_from, reason = outcome.counts_from, outcome.reason
    return {
        "id": outcome.movement_id,
        "status": outcome.status,
        "counts_from": counts_from and counts_from.isoformat().replace("+00:00", "Z"),
        "reason": reason and {"code": reason.code, "sentence": reason.sentence},
    }
