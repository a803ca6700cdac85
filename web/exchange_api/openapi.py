"""The OpenAPI description of the endpoints that existing clients speak: their parameters and answers."""

from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from staking.program import ASSET_CODE_LENGTH_MAX


class Product(BaseModel):
    """One asset of the program, and what the account holds and has earned in it."""

    asset: str
    minAmount: str
    maxCap: str
    apr: str
    stakedAmount: str
    totalProfit: str


class ProductList(BaseModel):
    status: bool
    totalRewardsUsdt: str
    rows: list[Product]
    total: int

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": True,
                    "totalRewardsUsdt": "3.09827182",
                    "rows": [
                        {
                            "asset": "BNB",
                            "minAmount": "0.5",
                            "maxCap": "1000",
                            "apr": "0.0015",
                            "stakedAmount": "2.14",
                            "totalProfit": "0.00171234",
                        }
                    ],
                    "total": 2,
                }
            ]
        }
    )


class RewardRecord(BaseModel):
    """One credited reward; ``time`` in milliseconds."""

    asset: str
    rewards: str
    rewardAsset: str
    avgAmount: str
    time: int


class RewardsHistory(BaseModel):
    rows: list[RewardRecord]
    total: int

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "rows": [
                        {
                            "asset": "BNB",
                            "rewards": "0.00000557",
                            "rewardAsset": "BNB",
                            "avgAmount": "2.14",
                            "time": 1754007978000,
                        }
                    ],
                    "total": 2,
                }
            ]
        }
    )


class SetAnswer(BaseModel):
    success: bool

    model_config = ConfigDict(json_schema_extra={"examples": [{"success": True}]})


class ErrorAnswer(BaseModel):
    code: int
    msg: str

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": -1022, "msg": "Signature for this request is not valid."}]}
    )


class Nothing(BaseModel):
    """An empty object."""


class ServerTime(BaseModel):
    serverTime: int

    model_config = ConfigDict(json_schema_extra={"examples": [{"serverTime": 1754007978000}]})


class SystemStatus(BaseModel):
    """``status`` is 0 normally, and 1 while requests may have to wait."""

    status: Literal[0, 1]
    msg: Literal["normal", "system_maintenance"]

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": 0, "msg": "normal"}]})


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of statuses that are errors."""
    return {status: {"model": ErrorAnswer, "description": HTTPStatus(status).phrase} for status in statuses}


def _parameter(name: str, schema: dict[str, Any], description: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": description}


_OF_EVERY_REQUEST = [
    _parameter(
        "recvWindow",
        {"type": "number", "minimum": 0, "maximum": 60_000, "multipleOf": 0.001, "default": 5_000},
        "For how many milliseconds after `timestamp` the request is valid, with up to three decimals.",
    ),
    _parameter(
        "timestamp",
        {"type": "integer", "minimum": 0},
        "When the request was made, in milliseconds or microseconds.",
        required=True,
    ),
    _parameter(
        "signature",
        {"type": "string"},
        "The last parameter. It signs everything before `&signature=`.",
        required=True,
    ),
]
_OF_A_PAGE = [
    _parameter(
        "asset", {"type": "string", "pattern": rf"^\S{{1,{ASSET_CODE_LENGTH_MAX}}}$"}, "Only rows of this asset."
    ),
    _parameter("current", {"type": "integer", "minimum": 1}, "The number of the page; without it the first, 1."),
    _parameter(
        "size", {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}, "How many rows a page has."
    ),
]
_OF_A_SPAN = [
    _parameter(
        name,
        {"type": "integer", "minimum": 0},
        f"The {which} `time` of the rows: milliseconds, or microseconds, which are cut off to milliseconds.",
    )
    for name, which in (("startTime", "first"), ("endTime", "last"))
]
_SWITCH = _parameter(
    "softStaking",
    {"type": "string", "enum": ["true", "false"]},
    "Upper and lower case are the same.",
    required=True,
)
PAGE_PARAMETERS = [*_OF_A_PAGE, *_OF_EVERY_REQUEST]
SPAN_PARAMETERS = [*_OF_A_PAGE, *_OF_A_SPAN, *_OF_EVERY_REQUEST]
SWITCH_PARAMETERS = [_SWITCH, *_OF_EVERY_REQUEST]
TIME_UNIT: dict[str, Any] = {
    "name": "X-MBX-TIME-UNIT",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "enum": ["MILLISECOND", "MICROSECOND"], "default": "MILLISECOND"},
    "description": "The unit of `serverTime`. Upper and lower case are the same.",
}
