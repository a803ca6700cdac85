"""Who asks: the person that the exchange's gateway names, or in the demonstration a person that was chosen."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from starlette.requests import HTTPConnection

from settings import Settings
from staking.models import check_user_id
from staking.program import RegionCode
from web.access.client_address import is_in, peer_of
from web.service import Service

_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "[::1]"}
_REGION: TypeAdapter[str] = TypeAdapter(RegionCode)


@dataclass(frozen=True)
class Person:
    """An account holder, and where they live, as the exchange says."""

    user_id: str
    region: str | None
    """ISO 3166-1 or 3166-2. None if the exchange gave no region; then nothing can be activated."""


def person_named_by_gateway(connection: HTTPConnection, settings: Settings) -> Person | None:
    """The person in the gateway's headers. Anyone can send these headers, so they are believed only from a
    configured peer."""
    if not is_in(settings.gateway_peers, peer_of(connection)):
        return None
    user_id = _only_value(connection, settings.gateway_user_header)
    if user_id is None:
        return None
    try:
        check_user_id(user_id)
    except ValueError:
        return None
    return Person(user_id, region_code(_only_value(connection, settings.gateway_region_header)))


def may_choose_person(connection: HTTPConnection, service: Service) -> bool:
    """Whether a visitor may choose a person, as in the demonstration: only with --dev, and only from this machine.

    The host name in the request counts too, since a page of another host may let its name point here.
    """
    peer = peer_of(connection)
    host = connection.headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return service.is_development and peer is not None and peer.is_loopback and name in _LOOPBACK_NAMES


def region_code(text: str | None) -> str | None:
    """An ISO 3166-1 or 3166-2 code in upper case; None for any other text."""
    if text is None or not text.isascii():
        return None
    try:
        return _REGION.validate_python(text.strip().upper())
    except ValidationError:
        return None


def _only_value(connection: HTTPConnection, header: str) -> str | None:
    """A header's value; None if the header came twice, since then one of them is not from the gateway."""
    values = connection.headers.getlist(header)
    return values[0] if len(values) == 1 else None
