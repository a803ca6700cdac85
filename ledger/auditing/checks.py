"""What the audit checks. Each check is a promise, with the SQL that finds the rows that contradict it.

The name of a column says what its values are: ``day``, ``…_day`` and ``effective_from`` are days, ``…_at`` and
``closed_through`` instants. The columns of AMOUNTS are units, and those of FLAGS yes or no. Two habits keep the
time of every check proportional to the number of rows, whatever plan the database prefers. A lookup by a range is
a scalar subquery, since PostgreSQL may execute a join by comparing all rows of an account with each other. CROSS
JOIN fixes the order of the tables for SQLite, which would otherwise begin with the smallest one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from staking.days import MICROSECONDS_PER_DAY, REWARD_WINDOW
from staking.program import AssetTerms, Program
from staking.rewards import DAYS_PER_YEAR, FORMULAS, outcome_and_reward

AMOUNTS = {
    "amount",
    "average",
    "average_due",
    "balance",
    "closing",
    "closing_due",
    "holding",
    "opening",
    "opening_due",
    "paid",
    "posted",
    "reversed_amount",
    "reward",
    "reward_due",
    "rewards",
    "too_much",
}
FLAGS = {"accrues", "credited_late", "late"}
INT64_MAX = 2**63 - 1

StoredRow = tuple[Any, ...]


@dataclass(frozen=True)
class Recomputation:
    """What cannot be computed with 64 bits: rows that are computed with Python's integers."""

    sql: str
    """The SQL that selects the rows. They begin with the check's key, and rows of one key come one after the
    other."""
    breach: Callable[[Sequence[StoredRow]], StoredRow | None]
    """Takes the rows of one key, and answers a row as the check's own SQL selects it, or None if nothing is wrong.
    """


@dataclass(frozen=True)
class Check:
    """A promise, and how to find what contradicts it."""

    invariant: str
    promise: str
    table: str
    """The table whose rows contradict it."""
    key: tuple[str, ...]
    """The columns that identify such a row."""
    says: str
    """A sentence for a person, with the names of columns."""
    sql: str
    """Selects the rows that contradict: the key first, then the values that matter."""
    recomputation: Recomputation | None = None


def _sum(column: str) -> str:
    # SQLite fails where a sum passes 64 bits on the way, so the two halves of each amount are summed.
    return f"(sum({column} >> 32) * 4294967296 + sum({column} & 4294967295))"


_DAY = str(MICROSECONDS_PER_DAY)
_WINDOW = str(REWARD_WINDOW.seconds * 1_000_000)
_SUM = _sum("p.amount")
_RUNNING_SUM = "sum(p.amount >> 32) OVER w * 4294967296 + sum(p.amount & 4294967295) OVER w"

_TERMS_COLUMNS = (
    "version, asset, minimum_text, cap_text, apr_text, minimum, cap, numerator, denominator, paused, base_max"
)


def tables_to_check_by(programs: Mapping[int, Program]) -> str:
    """The tables that every check may read, in SQL: ``terms``, an asset's terms in a program version, and
    ``formulas``, the numbers of the formulas that exist. By formula 1 the reward is base × numerator /
    denominator, which fits 64 bits for a base up to base_max."""
    nothing = "(0, '', '', '', '', 0, 0, 0, 1, 0, -1)"  # a table has at least one row; versions begin at 1
    rows = [
        _terms_row(version, asset, terms)
        for version, program in programs.items()
        for asset, terms in program.assets.items()
    ]
    # The columns have types. Without them SQLite would look through all rows every time, instead of making an
    # index.
    key = "CAST(column1 AS INTEGER), CAST(column2 AS TEXT)"
    others = ", ".join(f"column{number}" for number in range(3, 12))
    values = ", ".join([nothing, *rows])
    formulas = ", ".join(f"({number})" for number in FORMULAS)
    return (
        f"terms({_TERMS_COLUMNS}) AS (SELECT DISTINCT {key}, {others} FROM (VALUES {values}) AS v), "
        f"formulas(formula) AS (VALUES {formulas})"
    )


def _terms_row(version: int, asset: str, terms: AssetTerms) -> str:
    # The numbers come from a program that was checked, but an asset's code may be any text.
    numerator, denominator = terms.apr_ratio
    denominator *= DAYS_PER_YEAR
    base_max = INT64_MAX // max(numerator, 1) if denominator <= INT64_MAX else -1
    texts = f"{_literal(asset)}, '{terms.minimum}', '{terms.cap}', '{terms.apr}'"
    numbers = f"{terms.minimum_units}, {terms.cap_units}, {numerator}, {min(denominator, INT64_MAX)}"
    return f"({version}, {texts}, {numbers}, {int(terms.paused)}, {base_max})"


def _literal(content: str) -> str:
    """A text literal for SQL that goes through SQLAlchemy's text(), where a colon begins a parameter."""
    return "'" + content.replace("'", "''").replace(":", "\\:") + "'"


def _average_breach(rows: Sequence[StoredRow]) -> StoredRow | None:
    """I4 and rule 2 for one user, day and asset: the sum of amount × remaining time, in whole microseconds."""
    user_id, day, asset, opening, closing, average, *_ = rows[0]
    end_of_day = (day + 1) * MICROSECONDS_PER_DAY
    closing_due, unit_microseconds = opening, opening * MICROSECONDS_PER_DAY
    for *_, effective_at, amount in rows:
        closing_due += amount
        unit_microseconds += amount * (end_of_day - effective_at)
    average_due = unit_microseconds // MICROSECONDS_PER_DAY
    if (closing, average) == (closing_due, average_due):
        return None
    return user_id, day, asset, opening, closing, average, closing_due, average_due


def _reward_breach(rows: Sequence[StoredRow]) -> StoredRow | None:
    """Rules 3, 4 and 12 for one user, day and asset."""
    ((user_id, day, asset, reward, outcome, formula, average, minimum, cap, apr, paused),) = rows
    outcome_due, reward_due = outcome_and_reward(average, _terms(minimum, cap, apr, bool(paused)), formula)
    if (reward, outcome) == (reward_due, outcome_due):
        return None
    return user_id, day, asset, reward, outcome, formula, average, reward_due, outcome_due.value


@lru_cache
def _terms(minimum: str, cap: str, apr: str, paused: bool) -> AssetTerms:
    return AssetTerms(minimum=minimum, cap=cap, apr=apr, reference_price="0", paused=paused)


def _one_of(table: str, key: str, promise: str, says: str, where: str = "") -> Check:
    return Check(
        "I3",
        promise,
        table,
        tuple(key.split(", ")),
        says,
        f"SELECT {key}, count(*) AS times FROM {table} {where} GROUP BY {key} HAVING count(*) > 1",
    )


_JOURNAL = (
    Check(
        "I1",
        "every entry's postings sum to zero per asset",
        "entries",
        ("entry_id", "asset"),
        "entry {entry_id} has {too_much} too much {asset}",
        f"""SELECT p.entry_id, a.asset, {_SUM} AS too_much
            FROM postings p JOIN accounts a ON a.account_id = p.account_id
            GROUP BY p.entry_id, a.asset HAVING {_SUM} <> 0""",
    ),
    Check(
        "I1",
        "every entry has postings",
        "entries",
        ("entry_id",),
        "entry {entry_id}, a {kind} of user {user_id}, has no postings",
        """SELECT e.entry_id, e.kind, e.user_id FROM entries e
           WHERE NOT EXISTS (SELECT 1 FROM postings p WHERE p.entry_id = e.entry_id)""",
    ),
    Check(
        "I1",
        "every posting is of its entry's user and instant",
        "postings",
        ("entry_id", "account_id"),
        "entry {entry_id} is of user {entry_user_id} at {entry_effective_at}, but its posting to account {account_id} "
        "of user {user_id} at {effective_at}",
        """SELECT p.entry_id, p.account_id, a.user_id, p.effective_at,
                  e.user_id AS entry_user_id, e.effective_at AS entry_effective_at
           FROM postings p
           LEFT JOIN entries e ON e.entry_id = p.entry_id
           LEFT JOIN accounts a ON a.account_id = p.account_id
           WHERE e.effective_at IS DISTINCT FROM p.effective_at OR a.kind IS NULL
              OR (a.user_id IS NOT NULL AND a.user_id IS DISTINCT FROM e.user_id)""",
    ),
    Check(
        "I1",
        "every balance is the sum of its postings",
        "accounts",
        ("account_id",),
        "account {account_id} ({kind} {asset} of user {user_id}) holds {balance}, but its postings sum to {posted}",
        f"""SELECT a.account_id, a.kind, a.user_id, a.asset, a.balance, coalesce(s.total, 0) AS posted
            FROM accounts a
            LEFT JOIN (SELECT p.account_id, {_SUM} AS total FROM postings p GROUP BY p.account_id) s
                   ON s.account_id = a.account_id
            WHERE (a.balance IS NOT NULL OR a.kind <> 'outside') AND a.balance IS DISTINCT FROM coalesce(s.total, 0)""",
    ),
    Check(
        "I2",
        "no user account is below zero at any instant",
        "accounts",
        ("account_id", "effective_at"),
        "user {user_id} holds {holding} {asset} at {effective_at}",
        f"""SELECT DISTINCT account_id, effective_at, user_id, asset, holding
            FROM (SELECT p.account_id, p.effective_at, a.user_id, a.asset, {_RUNNING_SUM} AS holding
                  FROM postings p JOIN accounts a ON a.account_id = p.account_id WHERE a.kind = 'spot'
                  WINDOW w AS (PARTITION BY p.account_id ORDER BY p.effective_at)) held
            WHERE holding < 0""",
    ),
    Check(
        "I2",
        "no pool is below zero in recorded order",
        "accounts",
        ("account_id", "entry_id"),
        "the {asset} pool holds {holding} after entry {entry_id}",
        f"""SELECT account_id, entry_id, asset, holding
            FROM (SELECT p.account_id, p.entry_id, a.asset, {_RUNNING_SUM} AS holding
                  FROM postings p JOIN accounts a ON a.account_id = p.account_id WHERE a.kind = 'pool'
                  WINDOW w AS (PARTITION BY p.account_id ORDER BY p.entry_id)) held
            WHERE holding < 0""",
    ),
)

_ONCE = (
    _one_of(
        "accounts",
        "kind, user_id, asset, shard",
        "one account per owner, asset and shard",
        "there are {times} {kind} accounts in {asset} of user {user_id}",
    ),
    _one_of(
        "rewards",
        "user_id, day, asset",
        "one reward per user, asset and day",
        "user {user_id} has {times} rewards for {day} in {asset}",
    ),
    _one_of(
        "snapshots",
        "user_id, day, asset",
        "one snapshot per user, asset and day",
        "user {user_id} has {times} snapshots of {asset} on {day}",
    ),
    _one_of("days", "user_id, day", "one record per user and day", "user {user_id} has {times} records of {day}"),
    _one_of(
        "entries",
        "idempotency_key",
        "one entry per idempotency key",
        "there are {times} entries under the key {idempotency_key}",
        "WHERE idempotency_key IS NOT NULL",
    ),
    _one_of(
        "enrolments",
        "user_id",
        "one open enrolment per user",
        "user {user_id} has {times} open enrolments",
        "WHERE ended_at IS NULL",
    ),
    Check(
        "I3",
        "a user's enrolments follow one another",
        "enrolments",
        ("user_id", "enrolment_id"),
        "user {user_id}'s enrolment {enrolment_id} ({activated_at} to {ended_at}) overlaps {other_enrolment_id} "
        "({other_activated_at} to {other_ended_at})",
        """SELECT e.user_id, e.enrolment_id, e.activated_at, e.ended_at, o.enrolment_id AS other_enrolment_id,
                  o.activated_at AS other_activated_at, o.ended_at AS other_ended_at
           FROM enrolments e JOIN enrolments o ON o.user_id = e.user_id AND o.enrolment_id > e.enrolment_id
           WHERE (e.ended_at IS NULL OR o.activated_at < e.ended_at)
             AND (o.ended_at IS NULL OR e.activated_at < o.ended_at)""",
    ),
)

_CLOSED_DAYS = (
    Check(
        "I4",
        "a user's watermark is the end of the last closed day",
        "users",
        ("user_id",),
        "user {user_id} is closed through {closed_through}, but the last closed day is {last_closed_day}",
        f"""SELECT u.user_id, u.closed_through, d.day AS last_closed_day
            FROM users u LEFT JOIN (SELECT user_id, max(day) AS day FROM days GROUP BY user_id) d
                                ON d.user_id = u.user_id
            WHERE u.closed_through <> coalesce((d.day + 1) * {_DAY}, 0)""",
    ),
    Check(
        "I4",
        "no day is closed before its end",
        "days",
        ("user_id", "day"),
        "{day} of user {user_id} was closed at {closed_at}",
        f"SELECT user_id, day, closed_at FROM days WHERE closed_at < (day + 1) * {_DAY}",
    ),
    Check(
        "I4",
        "every snapshot follows from its opening and that day's postings",
        "snapshots",
        ("user_id", "day", "asset"),
        "user {user_id}'s {asset} on {day} closed at {closing} with an average of {average}; from {opening} its postings "
        "give {closing_due} and {average_due}",
        # If nothing moved within the day, the average is the opening and what came at 00:00.
        f"""SELECT user_id, day, asset, opening, closing, average,
                   opening + moved AS closing_due, opening + moved AS average_due
            FROM (SELECT s.user_id, s.day, s.asset, s.opening, s.closing, s.average, a.account_id,
                         (SELECT coalesce({_SUM}, 0) FROM postings p
                          WHERE p.account_id = a.account_id AND p.effective_at = s.day * {_DAY}) AS moved
                  FROM snapshots s LEFT JOIN accounts a ON a.user_id = s.user_id AND a.asset = s.asset) t
            WHERE CASE WHEN closing <> average OR closing <> opening + moved
                       THEN (SELECT min(p.effective_at) FROM postings p
                             WHERE p.account_id = t.account_id AND p.effective_at > t.day * {_DAY}
                               AND p.effective_at < (t.day + 1) * {_DAY}) IS NULL
                       ELSE FALSE END""",
        Recomputation(
            f"""SELECT s.user_id, s.day, s.asset, s.opening, s.closing, s.average, p.effective_at, p.amount
                FROM accounts a
                CROSS JOIN postings p
                CROSS JOIN snapshots s
                WHERE a.kind = 'spot' AND p.account_id = a.account_id
                  AND s.user_id = a.user_id AND s.day = p.effective_at / {_DAY} AND s.asset = a.asset
                  AND (p.account_id, p.effective_at / {_DAY}) IN (
                      SELECT m.account_id, m.effective_at / {_DAY} FROM postings m WHERE m.effective_at % {_DAY} <> 0)
                ORDER BY s.user_id, s.day, s.asset""",
            _average_breach,
        ),
    ),
    Check(
        "I4",
        "no program asset moved on a closed day without a snapshot",
        "days",
        ("user_id", "day", "asset"),
        "user {user_id}'s {asset} moved on {day}, which was closed without it",
        f"""SELECT DISTINCT d.user_id, d.day, a.asset
            FROM accounts a
            CROSS JOIN postings p
            CROSS JOIN days d
            CROSS JOIN terms t
            WHERE p.account_id = a.account_id AND d.user_id = a.user_id AND d.day = p.effective_at / {_DAY}
              AND t.version = d.program_version AND t.asset = a.asset
              AND NOT EXISTS (SELECT 1 FROM snapshots s
                              WHERE s.user_id = d.user_id AND s.day = d.day AND s.asset = a.asset)""",
    ),
    Check(
        "I4",
        "every snapshot is of a closed day and an asset of its program",
        "snapshots",
        ("user_id", "day", "asset"),
        "user {user_id} has a snapshot of {asset} on {day}, which is no asset of that day's program (version "
        "{program_version})",
        """SELECT s.user_id, s.day, s.asset, d.program_version
           FROM snapshots s
           LEFT JOIN days d ON d.user_id = s.user_id AND d.day = s.day
           LEFT JOIN terms t ON t.version = d.program_version AND t.asset = s.asset
           WHERE t.asset IS NULL""",
    ),
    Check(
        "I5",
        "each opening is the closing of the day before, or what was posted before if there is none",
        "snapshots",
        ("user_id", "day", "asset"),
        "user {user_id} opens {day} with {opening} {asset}; the holding before it was {opening_due}",
        f"""SELECT user_id, day, asset, opening, opening_due
            FROM (SELECT t.user_id, t.day, t.asset, t.opening,
                         coalesce(y.closing, (SELECT {_SUM} FROM accounts a JOIN postings p ON p.account_id = a.account_id
                                              WHERE a.user_id = t.user_id AND a.asset = t.asset
                                                AND p.effective_at < t.day * {_DAY}), 0) AS opening_due
                  FROM snapshots t
                  LEFT JOIN snapshots y ON y.user_id = t.user_id AND y.day = t.day - 1 AND y.asset = t.asset) s
            WHERE opening <> opening_due""",
    ),
    Check(
        "I5",
        "each closing is the opening of the next day",
        "snapshots",
        ("user_id", "day", "asset"),
        "user {user_id} closed {day} with {closing} {asset}, but the next day opens without",
        """WITH last_ones AS MATERIALIZED (
               SELECT y.user_id, y.day, y.asset, y.closing
               FROM snapshots y
               LEFT JOIN snapshots n ON n.user_id = y.user_id AND n.day = y.day + 1 AND n.asset = y.asset
               WHERE y.closing <> 0 AND n.user_id IS NULL)
           SELECT y.user_id, y.day, y.asset, y.closing
           FROM last_ones y
           JOIN days d ON d.user_id = y.user_id AND d.day = y.day + 1
           JOIN terms t ON t.version = d.program_version AND t.asset = y.asset""",
    ),
    Check(
        "I5",
        "whatever is held when days or a program begin has a snapshot",
        "days",
        ("user_id", "day", "asset"),
        "user {user_id} holds {posted} {asset} when {day} opens, but the day has no snapshot of it",
        f"""WITH beginnings AS MATERIALIZED (
                SELECT d.user_id, d.day, d.program_version
                FROM days d LEFT JOIN days b ON b.user_id = d.user_id AND b.day = d.day - 1
                                            AND b.program_version = d.program_version
                WHERE b.user_id IS NULL)
            SELECT user_id, day, asset, posted
            FROM (SELECT d.user_id, d.day, a.asset,
                         (SELECT {_SUM} FROM postings p
                          WHERE p.account_id = a.account_id AND p.effective_at < d.day * {_DAY}) AS posted
                  FROM beginnings d
                  CROSS JOIN accounts a
                  CROSS JOIN terms t
                  WHERE a.user_id = d.user_id AND t.version = d.program_version AND t.asset = a.asset
                    AND (SELECT min(s.day) FROM snapshots s WHERE s.user_id = d.user_id AND s.asset = a.asset
                                                              AND s.day IN (d.day - 1, d.day)) IS NULL) held
            WHERE posted <> 0""",
    ),
)

_REWARDS = (
    Check(
        "I6",
        "each reward is one posting to its user",
        "rewards",
        ("user_id", "day", "asset"),
        "user {user_id} was to get {reward} {asset} for {day} and got {paid}",
        """SELECT r.user_id, r.day, r.asset, r.reward, coalesce(p.amount, 0) AS paid, d.entry_id
           FROM rewards r
           LEFT JOIN days d ON d.user_id = r.user_id AND d.day = r.day
           LEFT JOIN accounts a ON a.user_id = r.user_id AND a.asset = r.asset
           LEFT JOIN postings p ON p.entry_id = d.entry_id AND p.account_id = a.account_id
           WHERE r.reward <> coalesce(p.amount, 0)""",
    ),
    Check(
        "I6",
        "an entry that pays a day's rewards pays nothing else",
        "postings",
        ("entry_id", "account_id"),
        "user {user_id} got {paid} {asset} for {day} (entry {entry_id}) without a reward",
        """SELECT p.entry_id, p.account_id, a.user_id, d.day, a.asset, p.amount AS paid
           FROM days d
           CROSS JOIN postings p
           CROSS JOIN accounts a
           WHERE p.entry_id = d.entry_id AND a.account_id = p.account_id AND a.kind = 'spot'
             AND (SELECT min(r.reward) FROM rewards r
                  WHERE r.user_id = a.user_id AND r.day = d.day AND r.asset = a.asset) IS NULL""",
    ),
    Check(
        "I6",
        "each entry of rewards is the credit of one day, at its end",
        "entries",
        ("entry_id",),
        "entry {entry_id} pays rewards to user {user_id} at {effective_at}; credited with it: day {day} of user "
        "{credited_user_id}",
        f"""SELECT e.entry_id, e.user_id, e.effective_at, d.day, d.user_id AS credited_user_id
            FROM entries e LEFT JOIN days d ON d.entry_id = e.entry_id
            WHERE e.kind = 'reward' AND (d.user_id IS DISTINCT FROM e.user_id OR e.effective_at <> (d.day + 1) * {_DAY})""",
    ),
    Check(
        "I6",
        "each credited day names an entry of rewards of its user, or none",
        "days",
        ("user_id", "day"),
        "{day} of user {user_id} names entry {entry_id}, a {kind} of user {entry_user_id}",
        """SELECT d.user_id, d.day, d.entry_id, e.kind, e.user_id AS entry_user_id
           FROM days d LEFT JOIN entries e ON e.entry_id = d.entry_id
           WHERE d.entry_id IS NOT NULL
             AND (e.kind IS DISTINCT FROM 'reward' OR e.user_id IS DISTINCT FROM d.user_id OR d.credited_at IS NULL)""",
    ),
    Check(
        "I6",
        "rewards credited equal the pool's outflow, per asset and day",
        "rewards",
        ("day", "asset"),
        "for {day} the {asset} pool paid {paid} and the rewards sum to {rewards}",
        f"""SELECT coalesce(o.day, i.day) AS day, coalesce(o.asset, i.asset) AS asset,
                   coalesce(o.total, 0) AS paid, coalesce(i.total, 0) AS rewards
            FROM (SELECT e.effective_at / {_DAY} - 1 AS day, a.asset, -{_SUM} AS total
                  FROM accounts a
                  JOIN postings p ON p.account_id = a.account_id
                  JOIN entries e ON e.entry_id = p.entry_id
                  WHERE e.kind = 'reward' AND a.kind = 'pool' GROUP BY 1, 2) o
            FULL JOIN (SELECT r.day, r.asset, {_sum("r.reward")} AS total FROM rewards r
                       WHERE r.reward > 0 GROUP BY r.day, r.asset) i
                   ON i.day = o.day AND i.asset = o.asset
            WHERE coalesce(o.total, 0) <> coalesce(i.total, 0)""",
    ),
    Check(
        "I6",
        "no day has rewards before it is credited",
        "rewards",
        ("user_id", "day", "asset"),
        "user {user_id} has a reward of {reward} {asset} for {day}, which is not credited",
        """SELECT r.user_id, r.day, r.asset, r.reward
           FROM rewards r LEFT JOIN days d ON d.user_id = r.user_id AND d.day = r.day
           WHERE d.credited_at IS NULL""",
    ),
    Check(
        "I6",
        "every reward has the snapshot it was computed from",
        "rewards",
        ("user_id", "day", "asset"),
        "user {user_id} has a reward of {reward} {asset} for {day}, but no snapshot",
        """SELECT r.user_id, r.day, r.asset, r.reward
           FROM rewards r LEFT JOIN snapshots s ON s.user_id = r.user_id AND s.day = r.day AND s.asset = r.asset
           WHERE s.user_id IS NULL""",
    ),
    Check(
        "I7",
        "each closed day has the program version in force on it",
        "days",
        ("user_id", "day"),
        "{day} of user {user_id} was closed under version {program_version}; version {version_in_force} was in force",
        """SELECT d.user_id, d.day, d.program_version, f.version AS version_in_force
           FROM days d
           JOIN (SELECT n.day, (SELECT v.version FROM program_versions v WHERE v.effective_from <= n.day
                                ORDER BY v.effective_from DESC, v.version DESC LIMIT 1) AS version
                 FROM (SELECT DISTINCT day FROM days) n) f ON f.day = d.day
           WHERE d.program_version IS DISTINCT FROM f.version""",
    ),
    Check(
        "I7",
        "no later program version starts on a day that had begun",
        "program_versions",
        ("version",),
        "version {version} starts on {effective_from} but was applied at {applied_at}",
        f"""SELECT version, effective_from, applied_at FROM program_versions
            WHERE version > (SELECT min(version) FROM program_versions) AND effective_from <= applied_at / {_DAY}""",
    ),
    Check(
        "I7",
        "each reward keeps the terms of its day's program version",
        "rewards",
        ("user_id", "day", "asset"),
        "user {user_id}'s {asset} reward for {day} has minimum {minimum}, cap {cap} and APR {apr}; version {version} says "
        "{minimum_in_program}, {cap_in_program} and {apr_in_program}",
        """SELECT r.user_id, r.day, r.asset, r.minimum, r.cap, r.apr, t.version, t.minimum_text AS minimum_in_program,
                  t.cap_text AS cap_in_program, t.apr_text AS apr_in_program
           FROM rewards r
           CROSS JOIN days d
           CROSS JOIN terms t
           WHERE d.user_id = r.user_id AND d.day = r.day AND t.version = d.program_version AND t.asset = r.asset
             AND (t.minimum_text <> r.minimum OR t.cap_text <> r.cap OR t.apr_text <> r.apr)""",
    ),
)

_OF_ONE_DAY = """
    WHERE s.user_id = r.user_id AND s.day = r.day AND s.asset = r.asset
      AND d.user_id = r.user_id AND d.day = r.day AND t.version = d.program_version AND t.asset = r.asset"""
_BASE = "CASE WHEN s.average < t.cap THEN s.average ELSE t.cap END"
_RECOMPUTED = "r.user_id, r.day, r.asset, r.reward, r.outcome, r.formula, s.average, t.minimum_text, t.cap_text, t.apr_text, t.paused"
_EARNS = "t.paused = 0 AND s.average >= t.minimum"

_RULES = (
    Check(
        "rules 3, 4 and 12",
        "each reward follows from its average and terms",
        "rewards",
        ("user_id", "day", "asset"),
        "user {user_id}'s {asset} reward for {day} is {reward} ({outcome}); an average of {average} gives {reward_due} "
        "({outcome_due}) by formula {formula}",
        # Only formula 1, which the database can compute. Python computes the others.
        f"""SELECT user_id, day, asset, reward, outcome, formula, average, reward_due, outcome_due
            FROM (SELECT w.*, CASE WHEN paused = 1 THEN 'paused'
                                   WHEN average < minimum THEN 'below_minimum'
                                   WHEN reward_due = 0 THEN 'rounded_to_zero'
                                   WHEN average > cap THEN 'capped'
                                   ELSE 'earned' END AS outcome_due
                  FROM (SELECT r.user_id, r.day, r.asset, r.reward, r.outcome, r.formula, s.average, t.minimum, t.cap, t.paused,
                               CASE WHEN NOT ({_EARNS}) THEN 0
                                    WHEN {_BASE} <= t.base_max THEN {_BASE} * t.numerator / t.denominator
                                    END AS reward_due
                        FROM rewards r CROSS JOIN snapshots s CROSS JOIN days d CROSS JOIN terms t
                        {_OF_ONE_DAY} AND r.formula = 1) w) x
            WHERE reward_due IS NOT NULL AND (reward <> reward_due OR outcome <> outcome_due)""",
        Recomputation(
            f"""SELECT {_RECOMPUTED}
                FROM terms t CROSS JOIN days d CROSS JOIN snapshots s CROSS JOIN rewards r
                {_OF_ONE_DAY} AND r.formula = 1 AND t.cap > t.base_max AND {_EARNS} AND {_BASE} > t.base_max
                UNION ALL
                SELECT {_RECOMPUTED}
                FROM rewards r CROSS JOIN snapshots s CROSS JOIN days d CROSS JOIN terms t
                {_OF_ONE_DAY} AND r.formula <> 1 AND r.formula IN (SELECT formula FROM formulas)""",
            _reward_breach,
        ),
    ),
    Check(
        "rules 3, 4 and 12",
        "each reward names a formula that this program knows",
        "rewards",
        ("user_id", "day", "asset"),
        "user {user_id}'s {asset} reward for {day}, {reward}, names formula {formula}, which this program does not know",
        """SELECT user_id, day, asset, reward, formula FROM rewards
           WHERE formula NOT IN (SELECT formula FROM formulas)""",
    ),
    Check(
        "rule 11",
        "each credit is marked late if it was late, and only then",
        "days",
        ("user_id", "day"),
        "the credit of {day} to user {user_id} at {credited_at} says late: {late}",
        f"""SELECT d.user_id, d.day, d.credited_at, d.late
            FROM days d JOIN enrolments e ON e.enrolment_id = d.enrolment_id
            WHERE d.credited_at IS NOT NULL
              AND d.late IS DISTINCT FROM (d.credited_at > (d.day + 1) * {_DAY} + {_WINDOW}
                                           AND (d.day + 1) * {_DAY} > e.recorded_at)""",
    ),
)

_COMPLETENESS = (
    Check(
        "complete",
        "each enrolment accrues from the day after it began to the day before it ended",
        "enrolments",
        ("enrolment_id",),
        "user {user_id}'s enrolment {enrolment_id} ({activated_at} to {ended_at}) accrues from {first_accrual_day} to "
        "{last_accrual_day}",
        # A day that was credited before its enrolment ended stays an accrual day.
        f"""SELECT e.enrolment_id, e.user_id, e.activated_at, e.ended_at, e.first_accrual_day, e.last_accrual_day
            FROM enrolments e
            WHERE e.first_accrual_day <> e.activated_at / {_DAY} + 1
               OR (e.ended_at IS NULL) <> (e.last_accrual_day IS NULL)
               OR (e.last_accrual_day >= e.ended_at / {_DAY} AND NOT EXISTS (
                   SELECT 1 FROM days d WHERE d.user_id = e.user_id AND d.day = e.last_accrual_day
                                          AND d.enrolment_id = e.enrolment_id AND d.credited_at IS NOT NULL))""",
    ),
    Check(
        "complete",
        "every closed day is of an enrolment of its user that had begun",
        "days",
        ("user_id", "day"),
        "{day} of user {user_id} was closed for enrolment {enrolment_id}, which is of user {enrolled_user_id} from "
        "{activated_at}",
        f"""SELECT d.user_id, d.day, d.enrolment_id, e.user_id AS enrolled_user_id, e.activated_at
            FROM days d LEFT JOIN enrolments e ON e.enrolment_id = d.enrolment_id
            WHERE e.user_id IS DISTINCT FROM d.user_id OR d.day < e.activated_at / {_DAY}""",
    ),
    Check(
        "complete",
        "every closed day from the first accrual day on is an accrual day",
        "days",
        ("user_id", "day"),
        "{day} of user {user_id} says that it accrues: {accrues}; the first accrual day is {first_accrual_day}",
        """SELECT d.user_id, d.day, d.accrues, e.first_accrual_day
           FROM days d JOIN enrolments e ON e.enrolment_id = d.enrolment_id
           WHERE d.accrues <> (d.day >= e.first_accrual_day)""",
    ),
    Check(
        "complete",
        "an enrolment's closed days follow one another",
        "days",
        ("user_id", "day"),
        "user {user_id} has no record of {day} for enrolment {enrolment_id}, but one of the next day",
        f"""SELECT d.user_id, d.day - 1 AS day, d.enrolment_id
            FROM days d JOIN enrolments e ON e.enrolment_id = d.enrolment_id
            WHERE d.day > e.activated_at / {_DAY}
              AND NOT EXISTS (SELECT 1 FROM days b WHERE b.user_id = d.user_id AND b.day = d.day - 1
                                                     AND b.enrolment_id = d.enrolment_id)""",
    ),
    Check(
        "complete",
        "no day is closed while an earlier one is owed",
        "days",
        ("user_id", "day"),
        "user {user_id} is still owed {day}, but a later day is closed",
        """SELECT d.user_id, d.day
           FROM days d JOIN enrolments e ON e.enrolment_id = d.enrolment_id
           WHERE d.accrues AND d.credited_at IS NULL AND (e.last_accrual_day IS NULL OR d.day <= e.last_accrual_day)
             AND EXISTS (SELECT 1 FROM days n WHERE n.user_id = d.user_id AND n.day > d.day)""",
    ),
    Check(
        "complete",
        "no day is closed while an ended enrolment is owed an earlier one",
        "enrolments",
        ("enrolment_id",),
        "user {user_id}'s enrolment {enrolment_id} is not credited its last day, {last_accrual_day}, but a later day is "
        "closed",
        """SELECT e.enrolment_id, e.user_id, e.last_accrual_day
           FROM enrolments e
           WHERE e.last_accrual_day >= e.first_accrual_day
             AND EXISTS (SELECT 1 FROM days n WHERE n.user_id = e.user_id AND n.day > e.last_accrual_day
                                                AND n.enrolment_id <> e.enrolment_id)
             AND NOT EXISTS (SELECT 1 FROM days l WHERE l.user_id = e.user_id AND l.day = e.last_accrual_day
                                                    AND l.enrolment_id = e.enrolment_id
                                                    AND l.credited_at IS NOT NULL)""",
    ),
    Check(
        "complete",
        "every snapshot of a credited day has its reward row",
        "snapshots",
        ("user_id", "day", "asset"),
        "user {user_id} has no reward row for {day} in {asset}",
        """SELECT s.user_id, s.day, s.asset
           FROM snapshots s
           JOIN days d ON d.user_id = s.user_id AND d.day = s.day
           LEFT JOIN rewards r ON r.user_id = s.user_id AND r.day = s.day AND r.asset = s.asset
           WHERE d.credited_at IS NOT NULL AND r.user_id IS NULL""",
    ),
    Check(
        "complete",
        "no day is credited after its enrolment's last accrual day",
        "days",
        ("user_id", "day"),
        "{day} of user {user_id} was credited after the last accrual day, {last_accrual_day}",
        """SELECT d.user_id, d.day, e.last_accrual_day
           FROM days d JOIN enrolments e ON e.enrolment_id = d.enrolment_id
           WHERE d.credited_at IS NOT NULL AND d.day > e.last_accrual_day""",
    ),
)

_CORRECTIONS = (
    Check(
        "corrections",
        "a reversal moves exactly what its entry moved, the other way",
        "postings",
        ("entry_id", "account_id"),
        "entry {entry_id} reverses entry {reverses}, but in account {account_id} it moves {amount} for {reversed_amount}",
        """SELECT e.entry_id, x.account_id, e.reverses, coalesce(sum(x.amount), 0) AS amount,
                  coalesce(sum(x.reversed_amount), 0) AS reversed_amount
           FROM entries e
           JOIN (SELECT r.entry_id, p.account_id, p.amount, NULL AS reversed_amount
                 FROM entries r JOIN postings p ON p.entry_id = r.entry_id WHERE r.reverses IS NOT NULL
                 UNION ALL
                 SELECT r.entry_id, p.account_id, NULL, p.amount
                 FROM entries r JOIN postings p ON p.entry_id = r.reverses) x ON x.entry_id = e.entry_id
           GROUP BY e.entry_id, x.account_id, e.reverses
           HAVING coalesce(sum(x.amount), 0) <> -coalesce(sum(x.reversed_amount), 0)""",
    ),
    Check(
        "corrections",
        "a reversal comes after what it reverses, and is of the same user",
        "entries",
        ("entry_id",),
        "entry {entry_id} of user {user_id} at {effective_at} reverses entry {reverses} of user {reversed_user_id} at "
        "{reversed_effective_at}",
        """SELECT e.entry_id, e.reverses, e.user_id, e.effective_at, o.user_id AS reversed_user_id,
                  o.effective_at AS reversed_effective_at
           FROM entries e LEFT JOIN entries o ON o.entry_id = e.reverses
           WHERE e.reverses IS NOT NULL
             AND (o.entry_id IS NULL OR o.entry_id >= e.entry_id OR o.user_id IS DISTINCT FROM e.user_id
                  OR o.effective_at > e.effective_at)""",
    ),
    Check(
        "corrections",
        "a reversal names what it reverses, its operator and its reason",
        "entries",
        ("entry_id",),
        "entry {entry_id}, a {kind}, reverses entry {reverses}; operator: {operator}, reason: {reason}",
        """SELECT entry_id, kind, reverses, operator, reason FROM entries
           WHERE (kind = 'reversal') <> (reverses IS NOT NULL)
              OR ((operator IS NOT NULL OR reason IS NOT NULL OR reverses IS NOT NULL)
                  AND (coalesce(operator, '') = '' OR (coalesce(reason, '') = '' AND kind <> 'pool_funding')))""",
    ),
    _one_of(
        "entries",
        "reverses",
        "no entry is reversed twice",
        "entry {reverses} is reversed {times} times",
        "WHERE reverses IS NOT NULL",
    ),
)

_DEEDS = """
    SELECT 'fund/' || entry_id AS act_id, user_id, operator, reason, tell FROM entries
    WHERE kind = 'pool_funding' AND operator IS NOT NULL
    UNION ALL SELECT 'reverse/' || entry_id, user_id, operator, reason, tell FROM entries WHERE kind = 'reversal'
    UNION ALL SELECT 'adjust/' || entry_id, user_id, operator, reason, tell FROM entries WHERE kind = 'adjustment'
    UNION ALL SELECT 'activate/' || enrolment_id, user_id, operator, operator_reason, NULL FROM enrolments
    WHERE operator IS NOT NULL
    UNION ALL SELECT 'deactivate/' || enrolment_id, user_id, end_operator, end_reason, end_tell FROM enrolments
    WHERE end_operator IS NOT NULL"""
"""What operators did, and what is kept with it. Fundings from before schema version 5 name no operator."""
_THINGS = """
    SELECT 'program_apply/' || version FROM program_versions
    UNION ALL SELECT 'program_pause/' || version FROM program_versions
    UNION ALL SELECT 'program_resume/' || version FROM program_versions
    UNION ALL SELECT 'key_create/' || api_key FROM api_keys
    UNION ALL SELECT 'key_revoke/' || api_key FROM api_keys WHERE revoked_at IS NOT NULL
    UNION ALL SELECT 'token_create/' || token_id FROM service_tokens
    UNION ALL SELECT 'token_revoke/' || token_id FROM service_tokens WHERE revoked_at IS NOT NULL
    UNION ALL SELECT 'webhook_add/' || webhook_id FROM webhooks
    UNION ALL SELECT 'webhook_remove/' || webhook_id FROM webhooks WHERE removed_at IS NOT NULL"""
"""The other things that acts are about."""

_ACTS = (
    Check(
        "acts",
        "a user's holds and releases take turns, a hold first",
        "acts",
        ("act_number",),
        "act {act_number} is a {kind} of user {user_id}, and the one before it: {before}",
        """SELECT act_number, user_id, kind, before
           FROM (SELECT act_number, user_id, kind, lag(kind) OVER (PARTITION BY user_id ORDER BY act_number) AS before
                 FROM acts WHERE kind IN ('hold', 'release')) a
           WHERE kind = coalesce(before, 'release')""",
    ),
    Check(
        "acts",
        "what an operator did has its act, which says the same",
        "acts",
        ("act_id",),
        "{operator} did {act_id}, user {user_id}, reason: {reason}, text: {tell}; its act says {act_operator}, user "
        "{act_user_id}, reason: {act_reason}, text: {act_tell}",
        f"""SELECT d.act_id, d.user_id, d.operator, d.reason, d.tell, a.user_id AS act_user_id,
                   a.operator AS act_operator, a.reason AS act_reason, a.tell AS act_tell
            FROM ({_DEEDS}) d LEFT JOIN acts a ON a.act_id = d.act_id
            WHERE a.act_id IS NULL OR a.user_id IS DISTINCT FROM d.user_id OR a.operator <> d.operator
               OR a.reason IS DISTINCT FROM d.reason OR a.tell IS DISTINCT FROM d.tell""",
    ),
    Check(
        "acts",
        "every act names something that the ledger has",
        "acts",
        ("act_number",),
        "act {act_number} of {operator}, {act_id}, names something that the ledger does not have",
        f"""SELECT act_number, operator, act_id FROM acts
            WHERE kind NOT IN ('hold', 'release', 'retry', 'resume', 'import', 'import_undo', 'movement_dismiss',
                               'source_release', 'source_remove', 'webhook_replay')
              AND act_id NOT IN (SELECT act_id FROM ({_DEEDS}) d UNION ALL {_THINGS})""",
    ),
)

_AN_HOUR = str(3_600_000_000)
"""Between what two machines call the same instant, and between two events that were written at once, is less."""

_EVENTS = (
    Check(
        "events",
        "every credit that was told was made, as it was told",
        "events",
        ("event_number",),
        "event {event_number} tells of {day} credited to user {user_id} at {recorded_at}, entry {entry_id}, late: {late}; "
        "recorded is {credited_at}, entry {credited_entry_id}, late: {credited_late}",
        """SELECT e.event_number, e.user_id, e.day, e.recorded_at, e.entry_id, e.late,
                  d.credited_at, d.entry_id AS credited_entry_id, d.late AS credited_late
           FROM events e LEFT JOIN days d ON d.user_id = e.user_id AND d.day = e.day
           WHERE e.kind = 'reward.credited'
             AND (d.credited_at IS DISTINCT FROM e.recorded_at OR d.entry_id IS DISTINCT FROM e.entry_id
                  OR d.late IS DISTINCT FROM e.late)""",
    ),
    Check(
        "events",
        "every credit since the oldest one that is still told was told once",
        "days",
        ("user_id", "day"),
        "{day} was credited to user {user_id} at {credited_at}, and was told {times} times",
        f"""SELECT d.user_id, d.day, d.credited_at, coalesce(t.times, 0) AS times
            FROM days d
            LEFT JOIN (SELECT user_id, day, count(*) AS times FROM events WHERE kind = 'reward.credited'
                       GROUP BY user_id, day) t ON t.user_id = d.user_id AND t.day = d.day
            WHERE d.credited_at > (SELECT e.recorded_at + {_AN_HOUR} FROM events e WHERE e.event_number = (
                                       SELECT min(event_number) FROM events WHERE kind = 'reward.credited'))
              AND coalesce(t.times, 0) <> 1""",
    ),
)

CHECKS = (
    *_JOURNAL,
    *_ONCE,
    *_CLOSED_DAYS,
    *_REWARDS,
    *_RULES,
    *_COMPLETENESS,
    *_CORRECTIONS,
    *_ACTS,
    *_EVENTS,
)
