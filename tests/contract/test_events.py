"""The JSON Schemas in docs/events/ are those of the code."""

import json
from typing import get_args

import pytest
from world import ROOT

from contract.events import DATA_OF, EventKind, schema_of
from ledger.database.schema import EVENT_KINDS

FOLDER = ROOT / "docs" / "events"


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_the_schema_of_an_event_is_what_is_written(kind: EventKind) -> None:
    """Written by `starter.py events schema TYPE > docs/events/TYPE.json`."""
    assert json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8")) == schema_of(kind)


def test_every_kind_of_event_has_its_data_its_file_and_its_place_in_the_ledger() -> None:
    kinds = list(get_args(EventKind))
    assert list(DATA_OF) == kinds == list(EVENT_KINDS)
    assert {file.stem for file in FOLDER.iterdir()} == set(kinds)
