"""Connecting to Temporal as the standard client configuration says: TEMPORAL_* variables and temporal.toml."""

import asyncio
from datetime import timedelta

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig

from workflows.client import DEFAULT_TIMEOUT, NoAnswer

DEFAULT_ADDRESS = "127.0.0.1:7233"


class BadConfiguration(Exception):
    """The client configuration cannot be read; the message is one sentence."""


def connect_config() -> ClientConnectConfig:
    """The connection that the environment and temporal.toml name, by default the embedded server's address.

    Raises BadConfiguration.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, OSError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise BadConfiguration(f"the Temporal client configuration cannot be used: {problem}") from None
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return config


async def connect(config: ClientConnectConfig | None = None, *, timeout: timedelta = DEFAULT_TIMEOUT) -> Client:
    """A client with the pydantic data converter. Raises NoAnswer if no server answers in time."""
    config = connect_config() if config is None else config
    address = config.get("target_host", DEFAULT_ADDRESS)
    connecting = Client.connect(
        address,
        namespace=config.get("namespace", "default"),
        api_key=config.get("api_key"),
        tls=config.get("tls"),
        rpc_metadata=config.get("rpc_metadata", {}),
        data_converter=pydantic_data_converter,
    )
    try:
        return await asyncio.wait_for(connecting, timeout.total_seconds())
    except (RuntimeError, TimeoutError):
        raise NoAnswer(
            f"no Temporal server answers at {address}, so nothing was sent: start one with "
            "`python worker.py --dev`, or name another with TEMPORAL_ADDRESS"
        ) from None
