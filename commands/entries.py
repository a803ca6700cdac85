"""How commands show journal entries: one JSON form, and lines for people."""

from typing import Any

from commands.output import amounts, exact_instant_text
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


def print_step(step: Step) -> None:
    """A line for each asset that an entry changed, with the holding after it, and what else is known of it."""
    entry = step.entry
    head = f"{entry.entry_id:>8}  {exact_instant_text(entry.effective_at):<30}  {entry.kind:<12}"
    for asset, units in entry.changes.items():
        print(f"{head}  {_signed(units):>21} {asset} → {format_amount(step.holdings[asset])}")
        head = " " * len(head)
    remarks = [f"recorded {exact_instant_text(entry.recorded_at)}", *_remarks(entry)]
    if entry.occurred_at:
        remarks.insert(1, f"occurred {exact_instant_text(entry.occurred_at)}")
    print(f"{'':>10}{'; '.join(remarks)}")


def _remarks(entry: Entry) -> list[str]:
    return [
        *([f"reverses entry {entry.reverses}"] if entry.reverses else []),
        *([f"reversed by entry {entry.reversed_by}"] if entry.reversed_by else []),
        *([f"reason: {_plain(entry.reason)}, by {_plain(entry.operator or 'nobody')}"] if entry.reason else []),
        *([f"note: {_plain(entry.note)}"] if entry.note else []),
    ]


def _signed(units: int) -> str:
    return f"{'+' if units > 0 else ''}{format_amount(units)}"


def _plain(text: str) -> str:
    """On one line, and nothing in it that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
