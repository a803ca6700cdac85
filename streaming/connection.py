"""How Kafka is spoken with: the client's configuration, from our settings."""

import socket
from typing import TypeAlias

from settings import BadConfiguration, Settings

Configuration: TypeAlias = dict[str, str | int | bool]
"""Of librdkafka, by its own names."""
_ONLY_WHAT_IS_CRITICAL = 2
"""Otherwise the client would print every connection that fails, many times a second."""
_CONNECTS_AGAIN_AFTER_MS_MAX = 5_000


def configuration(settings: Settings, brokers: str | None = None) -> Configuration:
    """What every client of Kafka is made with; ``brokers`` are named instead of those of the settings.

    Raises BadConfiguration if no brokers are named, or a password is needed and missing.
    """
    named = brokers or settings.kafka_brokers
    if not named:
        raise BadConfiguration("which Kafka? Name brokers with --brokers or SOFT_STAKING_KAFKA_BROKERS")
    return {
        "bootstrap.servers": named,
        "client.id": f"soft-staking-{socket.gethostname()}",
        "security.protocol": settings.kafka_security_protocol,
        "log_level": _ONLY_WHAT_IS_CRITICAL,
        "reconnect.backoff.max.ms": _CONNECTS_AGAIN_AFTER_MS_MAX,
        **_certificates(settings),
        **_identity(settings),
    }


def _certificates(settings: Settings) -> Configuration:
    files = {
        "ssl.ca.location": settings.kafka_ca_file,
        "ssl.certificate.location": settings.kafka_certificate_file,
        "ssl.key.location": settings.kafka_key_file,
    }
    named: Configuration = {name: str(file) for name, file in files.items() if file is not None}
    if password := settings.kafka_key_password.get_secret_value():
        named["ssl.key.password"] = password
    return named


def _identity(settings: Settings) -> Configuration:
    if not settings.kafka_security_protocol.startswith("sasl_"):
        return {}
    password = settings.kafka_sasl_password.get_secret_value()
    if not settings.kafka_sasl_username or not password:
        raise BadConfiguration(
            f"SOFT_STAKING_KAFKA_SECURITY_PROTOCOL is {settings.kafka_security_protocol}, which needs "
            "SOFT_STAKING_KAFKA_SASL_USERNAME and SOFT_STAKING_KAFKA_SASL_PASSWORD"
        )
    return {
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": password,
    }
