"""Errors of the API for product services, as problem details (RFC 9457)."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from contract.errors import NoAnswer, RequestRefused, ServiceError
from ledger.errors import LedgerError, LedgerUnavailable, UnknownCursor
from staking.models import RefusalReason

_log = logging.getLogger(__name__)
_TYPES = "/problems/"
_MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = 5
_MALFORMED = ("BadActivation", "BadReason")


class InvalidField(BaseModel):
    """What is wrong with one part of a request."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457. Programs decide on `type`, which docs/http-api.md lists; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    reasons: list[RefusalReason] | None = Field(default=None, description="Every reason of a refusal.")
    errors: list[InvalidField] | None = Field(default=None, description="Every fault of an invalid request.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/not-eligible",
                    "title": "Not eligible",
                    "status": 409,
                    "detail": "Soft Staking is not offered in region US.",
                    "instance": "/v1/accounts/1001/soft-staking/activate",
                    "reasons": [
                        {
                            "code": "region_restricted",
                            "sentence": "Soft Staking is not offered in region US.",
                        }
                    ],
                }
            ]
        }
    )


class Problem(Exception):
    """An answer that is an error. ``kind`` is the last part of its type, ``more`` its own members."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        title: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more
        super().__init__(detail)


def install_problems(app: FastAPI) -> None:
    """Makes every error of an application problem details."""
    for kind, to_problem in _PROBLEMS.items():
        app.add_exception_handler(kind, _handler(to_problem))
    as_json = app.openapi
    app.openapi = lambda: _with_media_type_of_problems(as_json())


def _with_media_type_of_problems(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI describes every model as application/json."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for response in (response for operation in operations for response in operation["responses"].values()):
        content = response["content"]
        if content.get("application/json", {}).get("schema") == {"$ref": "#/components/schemas/ProblemDetails"}:
            response["content"] = {_MEDIA_TYPE: content["application/json"]}
    return document


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of statuses that are problems."""
    return {status: {"model": ProblemDetails, "description": HTTPStatus(status).phrase} for status in statuses}


def refusal(reasons: list[RefusalReason]) -> Problem:
    """Rule 7: an activation was refused."""
    return Problem(
        HTTPStatus.CONFLICT,
        "not-eligible",
        "Not eligible",
        " ".join(reason.sentence for reason in reasons),
        reasons=[reason.model_dump() for reason in reasons],
    )


def _itself(error: Problem) -> Problem:
    return error


def _of_validation(error: RequestValidationError) -> Problem:
    faults = [_fault(fault) for fault in error.errors()]
    detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request", detail, errors=faults)


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    if fault["type"] == "json_invalid":
        return {"field": "body", "message": f"not JSON: {fault['ctx']['error']}"}
    return {
        "field": ".".join(str(part) for part in fault["loc"] if part != "body") or "body",
        "message": str(fault["msg"]).removeprefix("Value error, "),
    }


def _of_request_refused(error: RequestRefused) -> Problem:
    if error.code in _MALFORMED:
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request", str(error))
    if error.code == "NotEnrolled":
        return Problem(HTTPStatus.CONFLICT, "not-enrolled", "Not enrolled", str(error))
    return Problem(HTTPStatus.CONFLICT, "refused", "Refused", str(error))


def _of_service_error(error: ServiceError) -> Problem:
    kind, title = ("no-answer", "No answer") if isinstance(error, NoAnswer) else ("unavailable", "Unavailable")
    return _try_again_later(kind, title, str(error))


def _of_ledger_unavailable(error: LedgerUnavailable) -> Problem:
    _log.error("%s", error)
    return _try_again_later("unavailable", "Unavailable", "the ledger does not answer; nothing was recorded")


def _of_ledger_error(error: LedgerError) -> Problem:
    return Problem(HTTPStatus.CONFLICT, "refused", "Refused", str(error))


def _of_unknown_cursor(error: UnknownCursor) -> Problem:
    return Problem(HTTPStatus.GONE, "unknown-cursor", "Unknown cursor", str(error))


def _try_again_later(kind: str, title: str, detail: str) -> Problem:
    headers = {"Retry-After": str(_RETRY_AFTER_S)}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, kind, title, detail, headers=headers)


def _of_http_exception(error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    return Problem(status, "", status.phrase, error.detail, headers=error.headers)


def _of_defect(error: Exception) -> Problem:
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "", "Internal Server Error", "unexpected; the server's log says more"
    )


_PROBLEMS: dict[type[Exception], Any] = {
    Problem: _itself,
    RequestValidationError: _of_validation,
    HTTPException: _of_http_exception,
    RequestRefused: _of_request_refused,
    ServiceError: _of_service_error,
    LedgerUnavailable: _of_ledger_unavailable,
    LedgerError: _of_ledger_error,
    UnknownCursor: _of_unknown_cursor,
    Exception: _of_defect,
}


def _handler(to_problem: Any) -> Any:
    async def handle(request: Request, error: Exception) -> Response:
        return _response(to_problem(error), quote(request.scope["path"]))

    return handle


def _response(problem: Problem, path: str) -> Response:
    content: dict[str, Any] = {
        "type": f"{_TYPES}{problem.kind}" if problem.kind else "about:blank",
        "title": problem.title,
        "status": int(problem.status),
        "detail": problem.detail,
        "instance": path,
        **problem.more,
    }
    # A request may contain half a character, which cannot be written in UTF-8.
    text = json.dumps(content, ensure_ascii=False).encode("utf-8", errors="replace")
    return Response(text, problem.status, problem.headers, media_type=_MEDIA_TYPE)
