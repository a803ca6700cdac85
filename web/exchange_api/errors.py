"""Errors of the API that existing clients speak: a code and a message, in the form that those clients expect."""

from collections.abc import Sequence
from http import HTTPStatus

from staking.models import RefusalReason

REFUSED = -26001
"""An activation was refused (rule 7). The exchange has no such code; each reason is in the message."""


class ExchangeError(Exception):
    """An answer that is an error. ``retry_after_s`` becomes the header Retry-After."""

    def __init__(
        self, code: int, message: str, status: int = HTTPStatus.BAD_REQUEST, *, retry_after_s: int | None = None
    ) -> None:
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(message)


def unknown_path(path: str, method: str, status: int) -> ExchangeError:
    return ExchangeError(-5000, f"Path {path}, Method {method} is invalid", status)


def defect() -> ExchangeError:
    return ExchangeError(
        -1000, "An unknown error occurred while processing the request.", HTTPStatus.INTERNAL_SERVER_ERROR
    )


def unavailable(retry_after_s: int) -> ExchangeError:
    """The request could not be taken."""
    return ExchangeError(
        -1001,
        "Internal error; unable to process your request. Please try again.",
        HTTPStatus.SERVICE_UNAVAILABLE,
        retry_after_s=retry_after_s,
    )


def no_answer(retry_after_s: int) -> ExchangeError:
    """The outcome is unknown; a repeat is safe."""
    return ExchangeError(
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        HTTPStatus.SERVICE_UNAVAILABLE,
        retry_after_s=retry_after_s,
    )


def too_much_weight(limit: int, retry_after_s: int) -> ExchangeError:
    return ExchangeError(
        -1003,
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE.",
        HTTPStatus.TOO_MANY_REQUESTS,
        retry_after_s=retry_after_s,
    )


def outside_window() -> ExchangeError:
    return ExchangeError(-1021, "Timestamp for this request is outside of the recvWindow.")


def ahead() -> ExchangeError:
    return ExchangeError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")


def bad_signature() -> ExchangeError:
    return ExchangeError(-1022, "Signature for this request is not valid.")


def illegal_characters(name: str, legal: str) -> ExchangeError:
    return ExchangeError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def illegal_characters_somewhere() -> ExchangeError:
    return ExchangeError(-1100, "Illegal characters found in a parameter.")


def duplicated() -> ExchangeError:
    return ExchangeError(-1101, "Duplicate values for a parameter detected.")


def too_many_parameters(sent: int) -> ExchangeError:
    """For an endpoint that takes no parameters."""
    return ExchangeError(-1101, f"Too many parameters; expected '0' and received '{sent}'.")


def missing_or_malformed(name: str) -> ExchangeError:
    return ExchangeError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def malformed(name: str, expected: str) -> ExchangeError:
    return ExchangeError(-1102, f"Parameter '{name}' was malformed: {expected}.")


def unread(read: int, sent: int) -> ExchangeError:
    return ExchangeError(
        -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'."
    )


def empty(name: str) -> ExchangeError:
    return ExchangeError(-1105, f"Parameter '{name}' was empty.")


def unknown_asset() -> ExchangeError:
    return ExchangeError(-1121, "Invalid asset.")


def interval_too_big() -> ExchangeError:
    return ExchangeError(-1127, "Lookup interval is too big. More than 3 months between startTime and endTime.")


def start_after_end() -> ExchangeError:
    return ExchangeError(-1128, "Combination of optional parameters invalid: startTime is after endTime.")


def bad_receive_window() -> ExchangeError:
    return ExchangeError(-1131, "recvWindow must be less than 60000.")


def bad_time_unit() -> ExchangeError:
    return ExchangeError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")


def bad_key_format() -> ExchangeError:
    return ExchangeError(-2014, "API-key format invalid.", HTTPStatus.UNAUTHORIZED)


def rejected_key() -> ExchangeError:
    return ExchangeError(-2015, "Invalid API-key, IP, or permissions for action.", HTTPStatus.UNAUTHORIZED)


def not_permitted() -> ExchangeError:
    return ExchangeError(-2015, "Invalid API-key, IP, or permissions for action.", HTTPStatus.FORBIDDEN)


def refused(reasons: Sequence[RefusalReason]) -> ExchangeError:
    return ExchangeError(REFUSED, " ".join(f"{reason.code}: {reason.sentence}" for reason in reasons))
