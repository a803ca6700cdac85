"""The SDK's runtime, which serves its own metrics and ours at one address."""

import logging
import socket
from typing import Final

from temporalio.client import Client
from temporalio.common import MetricMeter
from temporalio.runtime import LogForwardingConfig, LoggingConfig, PrometheusConfig, Runtime, TelemetryConfig

from settings import BadConfiguration
from telemetry.address import Address

_FAST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The buckets range from the time of a read to the time limit of a step."""
LEDGER_TRANSACTION_SECONDS: Final = "soft_staking_ledger_transaction_seconds"
LEDGER_BATCH_REQUESTS: Final = "soft_staking_ledger_batch_requests"
HTTP_REQUEST_SECONDS: Final = "soft_staking_http_request_seconds"
_BUCKETS = {
    LEDGER_TRANSACTION_SECONDS: _FAST_S,
    HTTP_REQUEST_SECONDS: _FAST_S,
    LEDGER_BATCH_REQUESTS: (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0),
}


def start_runtime(metrics: Address | None = None) -> Runtime:
    """Makes a runtime for this process, which serves metrics at an address from now on.

    The SDK's core would log to standard output; its log records go the same way as all others. Raises
    BadConfiguration if the address cannot be used.
    """
    try:
        runtime = Runtime(telemetry=_telemetry(metrics and _resolved(metrics)))
    except ValueError as error:
        raise BadConfiguration(
            f"metrics cannot be served at {metrics} ({error}): stop the program that uses it, or choose another"
        ) from None
    Runtime.set_default(runtime, error_if_already_set=False)
    return runtime


def meter_of(client: Client) -> MetricMeter:
    """The meter for what is done with a client. If no metrics are served, it records nothing."""
    return (client.service_client.config.runtime or Runtime.default()).metric_meter


def _telemetry(metrics: Address | None) -> TelemetryConfig:
    # Its fields are left out: among them is the message of a failed workflow task, which may contain amounts.
    forwarding = LogForwardingConfig(
        logger=logging.getLogger("temporalio.core"),
        append_target_to_name=False,
        append_log_fields_to_message=False,
    )
    logs = LoggingConfig(filter=LoggingConfig.default.filter, forwarding=forwarding)
    if metrics is None:
        return TelemetryConfig(logging=logs)
    prometheus = PrometheusConfig(
        bind_address=str(metrics),
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=_BUCKETS,
    )
    # Prometheus itself names the service, in `job`.
    return TelemetryConfig(logging=logs, metrics=prometheus, attach_service_name=False)


def _resolved(metrics: Address) -> Address:
    """The SDK takes no names."""
    try:
        (*_, address), *_ = socket.getaddrinfo(metrics.host, metrics.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(error.strerror) from None
    return Address(str(address[0]), metrics.port)
