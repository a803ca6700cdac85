"""The metrics that a real worker and its pages show after a user was paid. Dashboard and alerts name only
these."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from measured import Metrics, metrics_after_a_payment
from staking_service import compounding
from world import ROOT

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "soft-staking.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
BASE_UNITS = ("_seconds", "_units", "_days", "_users", "_movements", "_messages", "_requests", "_total")
_METRIC = re.compile(r"\b((?:soft_staking|temporal)_\w+)(?:\{(.*?)\})?")
_PART_OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    return asyncio.run(metrics_after_a_payment(tmp_path_factory.mktemp("paid")))


def expressions(thing: Any) -> Iterator[str]:
    """Every PromQL expression in a dashboard or in rules."""
    if isinstance(thing, dict):
        if "expr" in thing:
            yield thing["expr"]
        for value in thing.values():
            yield from expressions(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from expressions(value)


def ours(metrics: Metrics) -> set[str]:
    """The names of our metrics. A histogram has one name."""
    return {_PART_OF_HISTOGRAM.sub("", name) for name in metrics.names if name.startswith("soft_staking_")}


def test_a_credited_day_is_counted_with_its_reward(metrics: Metrics) -> None:
    ((_, reward),) = compounding("12", "0.008", 1)
    assert metrics.value("soft_staking_credits_total") == 1
    assert metrics.value("soft_staking_late_credits_total") == 0
    assert metrics.value("soft_staking_reward_units_total", asset="SOL") == reward.scaleb(8)


def test_what_an_operator_watches_is_read_from_the_ledger(metrics: Metrics) -> None:
    ((_, reward),) = compounding("12", "0.008", 1)
    units = int(reward.scaleb(8))
    # A day after the credit, the next day is over and nobody has processed it.
    for held in ("false", "true"):
        owed = 1 if held == "false" else 0
        assert metrics.value("soft_staking_owed_days", held=held, back_dated="false") == owed
        assert metrics.value("soft_staking_owed_days", held=held, back_dated="true") == 0
    assert 0 <= metrics.value("soft_staking_oldest_owed_day_age_seconds") < 8 * 3600
    assert metrics.value("soft_staking_held_users") == 0
    assert metrics.value("soft_staking_unread_event_age_seconds") == 0
    for tried_again in ("false", "true"):
        assert metrics.value("soft_staking_refused_movements", tried_again=tried_again) == 0
    assert metrics.value("soft_staking_source_behind_seconds", source="wallet") == 24 * 3600
    assert 0 <= metrics.value("soft_staking_source_late_seconds", source="wallet") < 8 * 3600
    left = 10**14 - units
    assert metrics.value("soft_staking_pool_balance_units", asset="SOL") == left
    assert metrics.value("soft_staking_pool_left_days", asset="SOL") == pytest.approx(left / units)
    assert metrics.value("soft_staking_pool_left_days", asset="BNB") == float("inf")
    assert metrics.value("soft_staking_waiting_users", asset="SOL") == 0
    assert metrics.value("soft_staking_pool_missing_units", asset="SOL") == 0


def test_a_step_that_no_retry_mends_is_counted_by_step_and_error_and_others_begin_with_zero(
    metrics: Metrics,
) -> None:
    assert metrics.value("soft_staking_refused_steps_total", step="enrol", error="BackDatingRefused") == 1
    assert metrics.value("soft_staking_refused_steps_total", step="credit", error="AccountFull") == 0


def test_transactions_and_batches_of_the_ledger_are_measured(metrics: Metrics) -> None:
    for kind in ("read", "write"):
        assert metrics.value("soft_staking_ledger_transaction_seconds_count", kind=kind) > 0
    batches = metrics.value("soft_staking_ledger_batch_requests_count")
    assert metrics.value("soft_staking_ledger_batch_requests_sum") == batches > 0


def test_requests_are_named_by_route_and_never_by_what_a_client_wrote(metrics: Metrics) -> None:
    counted = "soft_staking_http_request_seconds_count"
    routes = {(each.labels["method"], each.labels["route"]) for each in metrics.samples if each.name == counted}
    assert routes == {
        ("GET", "/v1/accounts/{user}/soft-staking/status"),
        ("GET", "none"),
        ("other", "/"),
        ("GET", "/"),
    }
    assert metrics.value(counted, method="GET", route="/v1/accounts/{user}/soft-staking/status", status="4xx") == 1


def test_no_metric_names_a_user_or_a_region(metrics: Metrics) -> None:
    values = {value for sample in metrics.samples for value in sample.labels.values()}
    assert not values & {"ann", "soft-staking/ann", "FR"}


def test_names_end_with_their_unit(metrics: Metrics) -> None:
    assert [name for name in ours(metrics) if not name.endswith(BASE_UNITS)] == []
    counters = re.findall(r"^# TYPE (soft_staking_\w+) counter$", metrics.text, flags=re.M)
    assert {name for name in ours(metrics) if name.endswith("_total")} == set(counters)


def test_every_metric_of_ours_is_explained_and_every_explained_one_exists(metrics: Metrics) -> None:
    assert set(re.findall(r"^\| `(soft_staking_\w+)` \|", PAGE, flags=re.M)) == ours(metrics)


@pytest.mark.parametrize("expression", sorted({*expressions(DASHBOARD), *expressions(RULES)}))
def test_dashboard_and_alerts_name_only_metrics_and_labels_that_exist(metrics: Metrics, expression: str) -> None:
    named = _METRIC.findall(expression)
    assert named
    known = {(sample.name, label) for sample in metrics.samples for label in sample.labels}
    grouped = [label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")]
    for name, matchers in named:
        assert name in metrics.names
        labels = re.findall(r"(\w+)=~?\"", matchers) + grouped
        assert [label for label in labels if (name, label) not in known] == []


def test_every_metric_of_ours_is_on_the_dashboard(metrics: Metrics) -> None:
    shown = {name for expression in expressions(DASHBOARD) for name, _ in _METRIC.findall(expression)}
    assert {_PART_OF_HISTOGRAM.sub("", name) for name in shown if name.startswith("soft_staking_")} == ours(
        metrics
    )
