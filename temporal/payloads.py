"""How values become payloads of Temporal and are read again: as JSON, by pydantic."""

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter


class PydanticPayloads(CompositePayloadConverter):
    """The SDK's pydantic converter, of which all instances share what pydantic has prepared for each type.

    The SDK makes a new instance for each workflow and again for each of its activations, and each instance of its
    own converter prepares every type anew. For a union of models that takes a millisecond.
    """

    _shared = tuple(PydanticPayloadConverter().converters.values())

    def __init__(self) -> None:
        super().__init__(*self._shared)


PYDANTIC = DataConverter(payload_converter_class=PydanticPayloads)
"""Writes what the SDK's ``pydantic_data_converter`` writes, and reads what that reads."""
