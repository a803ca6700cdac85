"""How commands show journal entries: one JSON form, and lines for people."""

from collections.abc import Iterable, Iterator
from typing import Any

from commands.output import Column, amounts, exact_instant_text, plain, print_table
from ledger.entries import Entry, EntryAndHoldings, Recorded
from staking.money import format_amount


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry by its documented names: amounts with 8 places, signed."""
    return {
        "entry_id": entry.entry_id,
        "kind": entry.kind,
        "user": entry.user_id,
        "changes": amounts(entry.changes),
        "effective_at": entry.effective_at,
        "recorded_at": entry.recorded_at,
        "occurred_at": entry.occurred_at,
        "note": entry.note,
        "operator": entry.operator,
        "reason": entry.reason,
        "tell": entry.tell,
        "reverses": entry.reverses,
        "reversed_by": entry.reversed_by,
    }


def recorded_json(answer: Recorded) -> dict[str, Any]:
    """The answer to a request that posts an entry."""
    return {
        **entry_json(answer.entry),
        "recorded_already": answer.recorded_already,
        "balances": amounts(answer.balances),
    }


def print_tried(answer: Recorded) -> None:
    """What a dry run would have recorded, and the balances after it."""
    entry = answer.entry
    print(f"would reverse entry {entry.reverses}: {_changes(entry)} for {_whose(entry)}; nothing was done.")
    print(f"balance then: {_balances(answer)}")


def print_recorded(answer: Recorded) -> None:
    """What was recorded, from when it counts, and the balances now."""
    entry = answer.entry
    counts_from = exact_instant_text(entry.effective_at)
    if answer.recorded_already:
        print(f"recorded already, on {exact_instant_text(entry.recorded_at)}, so nothing changed:")
    print(
        f"entry {entry.entry_id}, {entry.kind}: {_changes(entry)} for {_whose(entry)}, counting from {counts_from}"
    )
    if entry.occurred_at:
        print(
            f"  not from {exact_instant_text(entry.occurred_at)}, since nothing may count within a closed day "
            "or before the user's latest movement"
        )
    for remark in _remarks(entry):
        print(f"  {remark}")
    print(f"balance now: {_balances(answer)}")


def _changes(entry: Entry) -> str:
    return ", ".join(f"{_signed(units)} {asset}" for asset, units in entry.changes.items())


def _whose(entry: Entry) -> str:
    return f"user {entry.user_id}" if entry.user_id else "the reward pool"


def _balances(answer: Recorded) -> str:
    return ", ".join(f"{amount} {asset}" for asset, amount in amounts(answer.balances).items())


def print_steps(steps: Iterable[EntryAndHoldings]) -> None:
    """A row for each asset that an entry changed, with the holding after it and the other fields of the entry."""
    print_table(
        [
            Column("entry", is_number=True),
            Column("counts from"),
            Column("kind"),
            Column("change", is_number=True),
            Column("asset"),
            Column("holding", is_number=True),
            Column("recorded", spare=1),
            Column("remarks", is_prose=True),
        ],
        [row for step in steps for row in _rows(step)],
    )


def print_pool_entries(found: Iterable[Entry]) -> None:
    """A row for each entry, with what it put into the pool or took out of it."""
    print_table(
        [
            Column("entry", is_number=True),
            Column("recorded"),
            Column("kind"),
            Column("change", is_number=True),
            Column("asset"),
            Column("user"),
            Column("remarks", is_prose=True),
        ],
        [
            [
                str(entry.entry_id),
                exact_instant_text(entry.recorded_at),
                entry.kind,
                _signed(units),
                asset,
                entry.user_id or "",
                "; ".join(_remarks(entry)),
            ]
            for entry in found
            for asset, units in entry.changes.items()
        ],
    )


def _rows(step: EntryAndHoldings) -> Iterator[list[str]]:
    entry = step.entry
    occurred = [f"occurred {exact_instant_text(entry.occurred_at)}"] if entry.occurred_at else []
    remarks = "; ".join([*occurred, *_remarks(entry)])
    for asset, units in entry.changes.items():
        when = [exact_instant_text(entry.effective_at), entry.kind]
        change = [_signed(units), asset, format_amount(step.holdings[asset])]
        yield [str(entry.entry_id), *when, *change, exact_instant_text(entry.recorded_at), remarks]
        remarks = ""


def _remarks(entry: Entry) -> list[str]:
    return [
        *([f"reverses entry {entry.reverses}"] if entry.reverses else []),
        *([f"reversed by entry {entry.reversed_by}"] if entry.reversed_by else []),
        *_words(entry),
        *([f"note: {plain(entry.note)}"] if entry.note else []),
    ]


def _words(entry: Entry) -> list[str]:
    """Who wrote an entry by hand and why, and the text for the user."""
    if entry.operator is None:
        return []
    reason = f"reason: {plain(entry.reason)}, " if entry.reason else "no reason given, "
    tell = [f"the user reads: {plain(entry.tell)}"] if entry.tell else []
    return [f"{reason}by {plain(entry.operator)}", *tell]


def _signed(units: int) -> str:
    return f"{'+' if units > 0 else ''}{format_amount(units)}"
