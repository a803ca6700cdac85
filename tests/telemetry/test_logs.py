"""A log line says whose step it is, for which day and which attempt, and has no amount and no region."""

import io
import json
import logging
import re
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from measured import a_measured_service, pay_ann_once
from polling import eventually
from sqlalchemy.exc import IntegrityError
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.runtime import Runtime

from ledger.errors import ContentDiffers, LedgerUnavailable
from settings import Settings
from staking.days import ONE_DAY
from telemetry.logs import start_logging

OURS = logging.getLogger("soft_staking.tests")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def pytests_own_logging_again() -> Generator[None]:
    root, ours = logging.getLogger(), logging.getLogger("soft_staking")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    # start_logging closes the handlers it finds.
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    activity.logger.activity_info_on_message = True
    workflow.logger.workflow_info_on_message = True


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ],
)
def test_logs_are_json_where_nobody_sits_at_the_other_end(
    log_format: Any, stream: io.StringIO, is_json: bool
) -> None:
    start_logging(Settings(log_format=log_format), stream)
    OURS.warning("a sentence with %s", "a word")
    assert stream.getvalue().startswith("{") is is_json
    assert "WARNING" in stream.getvalue()
    assert "a sentence with a word" in stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "log_level", "said"),
    [
        (io.StringIO(), "", ["info", "warning"]),
        (Terminal(), "", ["warning"]),
        (Terminal(), "DEBUG", ["debug", "info", "warning"]),
        (io.StringIO(), "ERROR", []),
    ],
)
def test_a_level_is_chosen_or_follows_from_who_reads(stream: io.StringIO, log_level: Any, said: list[str]) -> None:
    start_logging(Settings(log_level=log_level), stream)
    for word in ("debug", "info", "warning"):
        getattr(OURS, word)(word)
    assert [word for word in ("debug", "info", "warning") if word in stream.getvalue()] == said


def test_statements_and_payloads_are_not_logged_at_any_level() -> None:
    stream = io.StringIO()
    start_logging(Settings(log_level="DEBUG"), stream)
    logging.getLogger("sqlalchemy.engine").info("INSERT … 1200000000")
    logging.getLogger("temporalio.worker._activity").debug("Completing activity with completion: …")
    assert stream.getvalue() == ""


def refused() -> None:
    try:
        raise ContentDiffers("the day", recorded="12.50000000 SOL of FR", asked="13.00000000 SOL")
    except ContentDiffers as error:
        raise ApplicationError(str(error), type="ContentDiffers", non_retryable=True) from error


def contradicted() -> None:
    raise IntegrityError("INSERT", {"balance": 1250000000}, Exception("Failing row contains (ann, FR, 12.5)"))


def unforeseen() -> None:
    raise KeyError("12.5 FR")


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize(
    ("fails", "kinds"),
    [
        (refused, "ContentDiffers caused by ContentDiffers"),
        (contradicted, "IntegrityError"),
        (unforeseen, "KeyError"),
    ],
)
def test_an_error_is_logged_by_its_kind_and_place_and_without_its_words(
    fails: Any, kinds: str, log_format: Any
) -> None:
    stream = io.StringIO()
    start_logging(Settings(log_format=log_format), stream)
    try:
        fails()
    except Exception:
        OURS.exception("it failed")
    said = stream.getvalue()
    assert kinds in said
    assert f"in {fails.__name__}" in said
    assert [secret for secret in ("12.5", "125", "13.0", "FR", "SOL") if secret in said] == []


def test_what_a_ledger_that_is_away_says_is_logged() -> None:
    stream = io.StringIO()
    start_logging(Settings(), stream)
    try:
        raise LedgerUnavailable("the ledger postgresql://ledger@db/ledger cannot be used: connection refused")
    except LedgerUnavailable:
        OURS.warning("it failed", exc_info=True)
    (line,) = lines_of(stream)
    assert line["error"].endswith("cannot be used: connection refused")


async def test_every_credited_day_has_a_line_that_says_whose_and_no_line_has_an_amount_or_a_region(
    tmp_path: Path,
) -> None:
    stream = io.StringIO()
    async with a_measured_service(tmp_path, Runtime.default()) as service:
        start_logging(Settings(), stream)
        await service.start_worker()
        credited_at = await pay_ann_once(service)
        run_id = (await service.workflow.describe()).run_id
    (line,) = [line for line in lines_of(stream) if line["message"] == "credited"]
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "soft_staking.steps",
        "message": "credited",
        "user": "ann",
        "day": str(credited_at.date() - ONE_DAY),
        "step": "credit",
        "attempt": 1,
        "workflow_id": "soft-staking/ann",
        "run_id": run_id,
    }
    # An instant in the line may have the same digits as an amount.
    told = json.dumps([{name: told for name, told in line.items() if name != "time"} for line in lines_of(stream)])
    secrets = (r"0\.00026301", r"\b26301\b", r"12\.0", '"FR"')
    assert [secret for secret in secrets if re.search(secret, told)] == []


async def test_a_wait_for_a_pool_has_one_warning_however_often_it_is_asked_and_its_end_has_a_line(
    tmp_path: Path,
) -> None:
    stream = io.StringIO()
    async with a_measured_service(tmp_path, Runtime.default()) as service:
        start_logging(Settings(), stream)
        await service.world.sql("UPDATE accounts SET balance = 0 WHERE kind = 'pool'")
        await service.start_worker()
        await service.deposit()
        receipt = await service.activate()
        await service.skip_to(receipt.first_reward_from + timedelta(hours=2))
        await service.reaches_state("waiting for pool SOL")
        (events,) = await service.runs()
        scheduled = [event.activity_task_scheduled_event_attributes.activity_type.name for event in events]
        await service.world.fund("SOL")
        await service.client.retry("ann")

        async def look() -> list[dict[str, Any]]:
            told = [line for line in lines_of(stream) if line["logger"] == "soft_staking.loop"]
            return told if told[-1]["level"] == "INFO" else []

        told = await eventually(look)
    assert scheduled.count("credit") > 3
    assert [(line["level"], line["message"]) for line in told] == [
        ("WARNING", "waits for pool SOL"),
        ("INFO", "waits no longer for pool SOL"),
    ]
    for line in told:
        assert (line["user"], line["day"]) == ("ann", str(receipt.first_snapshot_at.date()))
        assert line["workflow_id"] == "soft-staking/ann"
    assert [line for line in lines_of(stream) if "pool" in line["message"]] == told


async def test_a_step_that_fails_says_whose_which_day_and_which_attempt(tmp_path: Path) -> None:
    stream = io.StringIO()
    async with a_measured_service(tmp_path, Runtime.default()) as service:
        start_logging(Settings(), stream)
        await service.start_worker()
        await service.deposit()
        receipt = await service.activate()
        day = receipt.first_snapshot_at.date()
        await service.world.sql("DROP TABLE rewards")
        await service.skip_to(receipt.first_reward_from)

        async def look() -> list[dict[str, Any]]:
            return [line for line in lines_of(stream) if line.get("attempt", 0) > 1]

        (line, *_) = await eventually(look)
    assert (line["user"], line["day"], line["step"]) == ("ann", str(day), "credit")
