"""How commands show journal entries: one JSON form, and lines for people."""

from collections.abc import Iterable, Iterator
from typing import Any

from commands.output import Column, amounts, exact_instant_text, plain, print_table
from ledger.entries import Entry, Recorded, Step
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


def print_recorded(answer: Recorded) -> None:
    """What was recorded, when it counts, and what is held now."""
    entry = answer.entry
    whose = f"user {entry.user_id}" if entry.user_id else "the reward pool"
    counts_from = exact_instant_text(entry.effective_at)
    if answer.recorded_already:
        print(f"recorded already, on {exact_instant_text(entry.recorded_at)}, so nothing changed:")
    changes = ", ".join(f"{_signed(units)} {asset}" for asset, units in entry.changes.items())
    print(f"entry {entry.entry_id}, {entry.kind}: {changes} for {whose}, counting from {counts_from}")
    if entry.occurred_at:
        print(
            f"  not from {exact_instant_text(entry.occurred_at)}, since nothing may count within a closed day "
            "or before the user's latest movement"
        )
    for remark in _remarks(entry):
        print(f"  {remark}")
    print(f"balance now: {', '.join(f'{amount} {asset}' for asset, amount in amounts(answer.balances).items())}")


def print_steps(steps: Iterable[Step]) -> None:
    """A row for each asset that an entry changed, with the holding after it, and what else is known of it."""
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


def _rows(step: Step) -> Iterator[list[str]]:
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
        *([f"reason: {plain(entry.reason)}, by {plain(entry.operator or 'nobody')}"] if entry.reason else []),
        *([f"note: {plain(entry.note)}"] if entry.note else []),
    ]


def _signed(units: int) -> str:
    return f"{'+' if units > 0 else ''}{format_amount(units)}"
