"""What a Temporal server must know before a run may write search attributes, and whether it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from contract.errors import ServiceError
from contract.recollection import SearchAttributeUse
from temporal.encryption import is_encrypted
from workflows.search_attributes import ALL_KEYS

_TIMEOUT = timedelta(seconds=10)
_NOT_FOR_US = (
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.UNIMPLEMENTED,
)
_TYPES: Mapping[str, "IndexedValueType.ValueType"] = {
    key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in ALL_KEYS
}
_WANTED = ", ".join(
    f"{name} ({IndexedValueType.Name(kind).removeprefix('INDEXED_VALUE_TYPE_').capitalize()})"
    for name, kind in _TYPES.items()
)

_ABOUT_ALL = " AND ".join(
    name + (" = true" if kind == IndexedValueType.INDEXED_VALUE_TYPE_BOOL else " STARTS_WITH 'x'")
    for name, kind in _TYPES.items()
)


class SetupRefused(ServiceError):
    """The server does not let this client add search attributes. The message says who can."""


@dataclass(frozen=True)
class Registered:
    """The names of the search attributes that were added now, and of those that the server had already."""

    added: list[str]
    known: list[str]


async def register(client: Client) -> Registered:
    """Makes the server know the search attributes. A repeat changes nothing. Raises SetupRefused."""
    try:
        known = await _known_types(client)
        _check(client, known)
        missing = {name: kind for name, kind in _TYPES.items() if name not in known}
        if missing:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing),
                timeout=_TIMEOUT,
            )
    except RPCError as error:
        raise _refused(client, error) from error
    return Registered(added=list(missing), known=[name for name in _TYPES if name in known])


async def usable_search_attributes(client: Client, *, is_encrypted: bool) -> SearchAttributeUse:
    """Which search attributes the runs that start on a worker may write, as the server stands now.

    Where that cannot be found out, none: a workflow that writes an unknown one stands still.
    """
    try:
        if not await _are_known(client):
            return SearchAttributeUse.NONE
    except RPCError:
        return SearchAttributeUse.NONE
    return SearchAttributeUse.WITHOUT_TERMS if is_encrypted else SearchAttributeUse.ALL


async def _known_types(client: Client) -> Mapping[str, "IndexedValueType.ValueType"]:
    try:
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=_TIMEOUT
        )
        return answer.custom_attributes
    except RPCError as error:
        if error.status in _NOT_FOR_US and await _are_known(client):
            return _TYPES
        raise


async def _are_known(client: Client) -> bool:
    """Whether the server accepts a query about all of them, by type. Temporal Cloud lets nobody list them."""
    try:
        await client.count_workflows(_ABOUT_ALL, rpc_timeout=_TIMEOUT)
    except RPCError as error:
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True


def _check(client: Client, known: Mapping[str, "IndexedValueType.ValueType"]) -> None:
    """Raises SetupRefused for a name of another type. A server would silently keep the old type."""
    wrong = [name for name, kind in _TYPES.items() if known.get(name, kind) != kind]
    if wrong:
        raise SetupRefused(
            f"the namespace {client.namespace} has {', '.join(wrong)} already, of another type: remove "
            f"{'it' if len(wrong) == 1 else 'them'} there first; wanted are {_WANTED}"
        )


def _refused(client: Client, error: RPCError) -> SetupRefused:
    if error.status in _NOT_FOR_US:
        return SetupRefused(
            f"these credentials may not add search attributes to the namespace {client.namespace} "
            f"({error.message}): whoever administers it must add {_WANTED}; for Temporal Cloud that is done in "
            "the namespace's settings, or with `tcld namespace search-attributes add`"
        )
    return SetupRefused(f"the search attributes could not be added: {error.message}")


async def known_search_attributes(client: Client) -> SearchAttributeUse:
    """Which search attributes the runs that start on a worker write."""
    return await usable_search_attributes(client, is_encrypted=is_encrypted(client))
