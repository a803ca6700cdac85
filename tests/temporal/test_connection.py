"""A problem with a connection to Temporal is one sentence that says which side speaks which protocol."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from servers import full_server
from temporalio.service import TLSConfig

from contract.errors import NoAnswer
from temporal.connection import connect

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
LOOPBACK = "127.0.0.1"


def a_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine, which nobody trusts, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(NAME, NAME, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


@asynccontextmanager
async def a_server(folder: Path | None) -> AsyncGenerator[str]:
    """A server that answers nobody. It speaks TLS if it has a folder for its certificate."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    context = None
    if folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*a_certificate(folder))
        context.set_alpn_protocols(["h2"])
    async with await asyncio.start_server(hang_up, LOOPBACK, 0, ssl=context) as server:
        yield f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"


async def refusal(address: str, tls: bool | TLSConfig) -> str:
    with pytest.raises(NoAnswer) as unanswered:
        await connect({"target_host": address, "tls": tls})
    sentence = str(unanswered.value)
    assert "nothing was sent" in sentence
    assert "\n" not in sentence
    return sentence


async def test_tls_spoken_to_a_plain_server_is_named_as_the_problem() -> None:
    async with full_server() as client:
        address = client.service_client.config.target_host
        sentence = await refusal(address, tls=True)

    assert f"the server at {address} does not speak TLS" in sentence
    assert "TEMPORAL_TLS=false" in sentence


async def test_a_server_that_speaks_tls_and_is_asked_without_it_is_named_as_the_problem(tmp_path: Path) -> None:
    async with a_server(tmp_path) as address:
        sentence = await refusal(address, tls=False)

    assert f"the server at {address} speaks TLS" in sentence
    assert "TEMPORAL_TLS=true" in sentence


async def test_a_certificate_that_is_not_accepted_is_named_as_the_problem(tmp_path: Path) -> None:
    async with a_server(tmp_path) as address:
        sentence = await refusal(address, tls=True)

    assert "its certificate is not accepted" in sentence
    assert "TEMPORAL_TLS_SERVER_CA_CERT_PATH" in sentence


@pytest.mark.parametrize("tls", [True, False])
async def test_a_server_that_hangs_up_immediately_or_is_not_there_is_no_temporal_server(tls: bool) -> None:
    async with a_server(None) as address:
        hung_up = await refusal(address, tls)
    away = await refusal("127.0.0.1:1", tls)

    for sentence in (hung_up, away):
        assert "no Temporal server answers at 127.0.0.1:" in sentence
