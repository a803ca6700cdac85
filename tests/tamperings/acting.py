"""Changes of the rich world's ledger that bypass our code: the change, and the names of the rows that it uses."""

from collections.abc import Mapping
from dataclasses import dataclass

import databases

DAY_US = 86_400_000_000
DAY_2, DAY_3, DAY_4, DAY_5 = 20728, 20729, 20730, 20731
NEW, NEW_BUT_ONE = "(SELECT max(entry_id) FROM entries)", "(SELECT max(entry_id) - 1 FROM entries)"
FIRST = "(SELECT min(entry_id) FROM entries WHERE user_id = 'ann')"


def account(owner: str, asset: str) -> str:
    return (
        f"(SELECT min(account_id) FROM accounts WHERE coalesce(user_id, kind) = '{owner}' AND asset = '{asset}')"
    )


def reward_of(user: str, closed: int) -> str:
    """The entry that paid a day's rewards."""
    paid = f"kind = 'reward' AND user_id = '{user}' AND effective_at = {(closed + 1) * DAY_US}"
    return f"(SELECT min(entry_id) FROM entries WHERE {paid})"


def told(user: str, closed: int) -> str:
    """The event of a credit."""
    where = f"kind = 'reward.credited' AND user_id = '{user}' AND day = {closed}"
    return f"(SELECT min(event_number) FROM events WHERE {where})"


def telling(
    user: str, on: str, credited: str, entry_id: str, recorded: str = "none, entry none, late: none"
) -> str:
    """The breach of an event that says something else than what is recorded."""
    return (
        f"events: event {{told_{user}_{on[-1]}}} tells of {on} credited to user {user} at {credited} "
        f"00:01:00+00:00, entry {{{entry_id}}}, late: False; recorded is {recorded}"
    )


NAMED = {
    "first": FIRST,
    "first_key": f"(SELECT idempotency_key FROM entries WHERE entry_id = {FIRST})",
    "shib_deposit": f"(SELECT min(entry_id) FROM postings WHERE account_id = {account('ann', 'SHIB')})",
    "ann_reward_2": reward_of("ann", DAY_2),
    "bob_reward_2": reward_of("bob", DAY_2),
    "ann_reward_3": reward_of("ann", DAY_3),
    "bob_reward_3": reward_of("bob", DAY_3),
    "bob_reward_5": reward_of("bob", DAY_5),
    "doge_funding": f"(SELECT min(entry_id) FROM postings WHERE account_id = {account('pool', 'DOGE')})",
    "act_of_version_2": "act_number FROM acts WHERE act_id = 'program_apply/2'",
    "ann_sol": account("ann", "SOL"),
    "bob_sol": account("bob", "SOL"),
    "bob_doge": account("bob", "DOGE"),
    "told_ann_2": told("ann", DAY_2),
    "told_bob_2": told("bob", DAY_2),
    "told_ann_3": told("ann", DAY_3),
    "told_bob_3": told("bob", DAY_3),
    "told_bob_5": told("bob", DAY_5),
    "pool_sol": account("pool", "SOL"),
    "pool_doge": account("pool", "DOGE"),
    "outside_sol": account("outside", "SOL"),
}
"""The numbers that the database gave, by the names that the breaches below use for them."""
NAMED_AFTERWARDS = {"new": NEW, "new_but_one": NEW_BUT_ONE}


def entry(
    effective_at: int, amounts: Mapping[tuple[str, str], int], *, kind: str = "deposit", user: str = "ann"
) -> list[str]:
    """SQL for an entry that bypasses our code, and for the balances that it makes. Amounts are in units, by owner
    and asset."""
    statements = [
        "INSERT INTO entries (kind, user_id, effective_at, recorded_at) "
        f"VALUES ('{kind}', '{user}', {effective_at}, 0)"
    ]
    for (owner, asset), amount in amounts.items():
        posted = account(owner, asset)
        statements += [
            f"INSERT INTO postings VALUES ({NEW}, {posted}, {effective_at}, {amount})",
            f"UPDATE accounts SET balance = balance + {amount} WHERE account_id = {posted}",
        ]
    return statements


def reversal_of(entry_id: str, effective_at: int, *, change: str = "-amount") -> list[str]:
    """SQL that reverses an entry."""
    return [
        "INSERT INTO entries (kind, user_id, effective_at, recorded_at, operator, reason, reverses) "
        f"SELECT 'reversal', user_id, {effective_at}, 0, 'olga', 'paid in error', entry_id FROM entries "
        f"WHERE entry_id = {entry_id}",
        f"INSERT INTO postings SELECT {NEW}, account_id, {effective_at}, {change} FROM postings "
        f"WHERE entry_id = {entry_id}",
        f"UPDATE accounts SET balance = balance + (SELECT amount FROM postings p WHERE p.entry_id = {NEW} "
        f"AND p.account_id = accounts.account_id) WHERE account_id IN "
        f"(SELECT account_id FROM postings WHERE entry_id = {NEW})",
        "INSERT INTO acts (act_id, user_id, kind, operator, reason, recorded_at) "
        "SELECT 'reverse/' || entry_id, user_id, 'reverse', operator, reason, recorded_at FROM entries "
        f"WHERE entry_id = {NEW}",
    ]


def twice(table: str, where: str) -> list[str]:
    """SQL that writes a row twice, in a table that has lost its keys."""
    cascade = " CASCADE" if databases.kind == databases.POSTGRESQL else ""
    return [
        f"CREATE TABLE copy AS SELECT * FROM {table}",
        f"DROP TABLE {table}{cascade}",
        f"ALTER TABLE copy RENAME TO {table}",
        f"INSERT INTO {table} SELECT * FROM {table} WHERE {where}",
    ]


FIRST_OF_ANN = f"entry_id = {FIRST} AND account_id = {account('ann', 'SOL')}"
NOT_CREDITED = "credited_at = NULL, late = NULL, entry_id = NULL"
ANN_SOL_2 = f"user_id = 'ann' AND asset = 'SOL' AND day = {DAY_2}"
BOB_SOL_5 = f"user_id = 'bob' AND asset = 'SOL' AND day = {DAY_5}"


@dataclass(frozen=True)
class Tampering:
    """A change that bypasses our code, and every breach that follows from it."""

    statements: list[str]
    breaches: list[str]
    doubles: tuple[str, str] | None = None
    """A table that loses its keys, and the row in it that is written twice."""


def act(number: int, user: str, kind: str, *, act_id: str | None = None) -> str:
    return (
        "INSERT INTO acts (act_number, act_id, user_id, kind, operator, reason, recorded_at) "
        f"VALUES ({number}, '{act_id or number}', '{user}', '{kind}', 'zoe', 'a check', 0)"
    )
