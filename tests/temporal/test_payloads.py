"""Values reach Temporal as the SDK's pydantic converter writes them, and cost less."""

from dataclasses import replace
from datetime import date

from temporalio.contrib.pydantic import pydantic_data_converter

from contract.recollection import Recollection
from staking.models import PoolShort, SourceLate
from temporal.encryption import data_converter
from temporal.payloads import PYDANTIC

DAY = date(2028, 2, 29)
SHORT = PoolShort(day=DAY, assets=["SOL"])
VALUES = [SHORT, SourceLate(day=DAY, sources=["wallet"]), Recollection(), "ann", b"\0", None, 3]


def test_payloads_are_what_the_sdk_s_pydantic_converter_writes() -> None:
    theirs = pydantic_data_converter.payload_converter
    ours = PYDANTIC.payload_converter

    assert ours.to_payloads(VALUES) == theirs.to_payloads(VALUES)
    hints = [type(value) for value in VALUES]
    assert ours.from_payloads(theirs.to_payloads(VALUES), hints) == VALUES


def test_a_type_is_prepared_once_and_not_by_each_of_the_converters_that_the_sdk_makes() -> None:
    made = [replace(converter) for converter in (PYDANTIC, data_converter({}), data_converter({"key": bytes(32)}))]

    prepared = {id(each.payload_converter_class().converters[b"json/plain"]) for each in made}  # pyright: ignore

    assert len(prepared) == 1
