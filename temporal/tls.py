"""Whether a connection failed because of TLS. The SDK's own message says so only to experts."""

import asyncio
import re
import ssl

_PROBE_TIMEOUT_S = 3.0
_CERTIFICATE = re.compile(r"InvalidCertificate\((\w+)")


async def difference_in_tls(address: str, error: Exception, *, wants_tls: bool) -> str | None:
    """A clause that says what about TLS made a connection fail; None if it failed for another reason."""
    speaks_tls = await _speaks_tls(address)
    if speaks_tls is None or (not speaks_tls and not wants_tls):
        return None
    if not speaks_tls:
        return (
            f"the server at {address} does not speak TLS, which TEMPORAL_TLS…, an API key or temporal.toml asks "
            "for, so nothing was sent: set TEMPORAL_TLS=false, or name another server with TEMPORAL_ADDRESS"
        )
    if not wants_tls:
        return (
            f"the server at {address} speaks TLS and was asked without, so nothing was sent: set TEMPORAL_TLS=true"
        )
    certificate = _CERTIFICATE.search(str(error))
    why = f"its certificate is not accepted ({certificate[1]})" if certificate else "no TLS connection comes about"
    return (
        f"the server at {address} answers, but {why}, so nothing was sent: TEMPORAL_TLS_SERVER_CA_CERT_PATH and "
        "TEMPORAL_TLS_SERVER_NAME say whom to believe, TEMPORAL_TLS_CLIENT_CERT_PATH and "
        "TEMPORAL_TLS_CLIENT_KEY_PATH who we are"
    )


async def _speaks_tls(address: str) -> bool | None:
    """Whether the server speaks TLS; None if that cannot be found out. Sends only the first message of TLS."""
    host, _, port = address.rpartition(":")
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=anybody)
    except ssl.SSLEOFError:
        return None
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, TimeoutError):
        return None
    writer.transport.abort()
    return True
