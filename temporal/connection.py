"""The connection to Temporal that the standard client configuration names: TEMPORAL_* variables, temporal.toml."""

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta

from pydantic import ValidationError
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, Interceptor
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode

from contract.errors import NoAnswer
from embedded.temporal_server import running_installation
from settings import BadConfiguration, Settings, faults_of_settings
from temporal.client import DEFAULT_TIMEOUT
from temporal.encryption import data_converter
from temporal.tls import difference_in_tls

DEFAULT_ADDRESS = "127.0.0.1:7233"
_ADDRESS = re.compile(r"[^\s/]+:([0-9]{1,5})")
_PORT_MAX = 65535


def connect_config() -> ClientConnectConfig:
    """The connection that the environment and temporal.toml name; the default address is the embedded server's.

    Raises BadConfiguration.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, OSError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise BadConfiguration(f"the Temporal client configuration cannot be used: {problem}") from None
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return config


async def connect(
    config: ClientConnectConfig | None = None,
    *,
    timeout: timedelta = DEFAULT_TIMEOUT,
    interceptors: Sequence[Interceptor] = (),
) -> Client:
    """A client with the pydantic data converter, which encrypts where SOFT_STAKING_PAYLOAD_KEYS is set;
    ``interceptors`` are its workers' too, where they can be.

    Raises NoAnswer if no server answers in time, and BadConfiguration for an address, a namespace or keys that
    are none.
    """
    config = connect_config() if config is None else config
    address = _checked(config.get("target_host", DEFAULT_ADDRESS))
    converter = data_converter(_payload_keys())
    connecting = Client.connect(
        address,
        namespace=config.get("namespace", "default"),
        api_key=config.get("api_key"),
        tls=config.get("tls"),
        rpc_metadata=config.get("rpc_metadata", {}),
        data_converter=converter,
        interceptors=interceptors,
    )
    try:
        client = await asyncio.wait_for(connecting, timeout.total_seconds())
    except (RuntimeError, TimeoutError) as error:
        tls = await difference_in_tls(address, error, wants_tls=bool(config.get("tls")))
        away = f"no Temporal server answers at {address}, so nothing was sent: {_way_out(address)}"
        raise NoAnswer(tls or away) from None
    await _check_namespace(client, timeout)
    return client


def _way_out(address: str) -> str:
    try:
        data_dir = Settings().data_dir
    except ValidationError as error:
        raise BadConfiguration("; ".join(faults_of_settings(error))) from None
    if (process := running_installation(data_dir, address)) is None:
        return "start one with `python worker.py --dev`, or name another with TEMPORAL_ADDRESS"
    return (
        f"`worker.py --dev` runs (process {process}) and starts its server again by itself, so repeat this in a "
        "moment; if it stays so, what that process prints says why"
    )


def _payload_keys() -> dict[str, bytes]:
    try:
        return Settings().payload_keys_by_id
    except ValidationError as error:
        raise BadConfiguration("; ".join(faults_of_settings(error))) from None


def _checked(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if not match or not 1 <= int(match[1]) <= _PORT_MAX:
        raise BadConfiguration(
            f"{address!r} is no address of a Temporal server: set TEMPORAL_ADDRESS, or the address in "
            f"temporal.toml, to HOST:PORT such as {DEFAULT_ADDRESS}"
        )
    return address


async def _check_namespace(client: Client, timeout: timedelta) -> None:
    """Raises BadConfiguration for a missing namespace, which a request would mistake for a missing workflow."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=timeout
        )
    except RPCError as error:
        # Anything else, such as a key that may not ask this, is for the request itself to meet.
        if error.status == RPCStatusCode.NOT_FOUND:
            raise BadConfiguration(
                f"the Temporal server has no namespace {client.namespace!r}: create it there, or set "
                "TEMPORAL_NAMESPACE to one that exists"
            ) from None
