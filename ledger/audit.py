"""The audit: proves the invariants from what is stored, with set-based SQL."""

import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.engine import Ledger
from ledger.programs import all_versions
from ledger.schema import AnyRow, UtcDay, UtcInstant
from staking.average import day_holding
from staking.days import ONE_DAY, start_of
from staking.money import format_amount
from staking.program import AssetTerms, Program
from staking.rewards import outcome_and_reward

BREACHES_SHOWN_MAX = 100
_EPOCH_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class Breach:
    """One row that contradicts an invariant."""

    what: str


@dataclass(frozen=True)
class Check:
    """What one check found."""

    invariant: str
    promise: str
    breaches: list[Breach]
    """The first BREACHES_SHOWN_MAX."""


@dataclass(frozen=True)
class Audit:
    """The outcome of all checks."""

    checks: list[Check]
    entries: int
    postings: int
    credited_days: int

    @property
    def is_clean(self) -> bool:
        """Nothing contradicts an invariant."""
        return not any(check.breaches for check in self.checks)


@dataclass(frozen=True)
class _Query:
    invariant: str
    promise: str
    sql: str
    """Selects one column, ``what``: a sentence per breach."""


# sum() of a whole table's amounts may pass 64 bits, so the two halves of each are summed, as in journal.exact_sum.
_SUM = "(sum(p.amount >> 32) * 4294967296 + sum(p.amount & 4294967295))"

_QUERIES = (
    _Query(
        "I1",
        "every entry's postings sum to zero per asset",
        f"""SELECT 'entry ' || p.entry_id || ' has units#' || {_SUM} || ' too much ' || a.asset AS what
            FROM postings p JOIN accounts a ON a.account_id = p.account_id
            GROUP BY p.entry_id, a.asset HAVING {_SUM} <> 0""",
    ),
    _Query(
        "I1",
        "every entry has postings",
        """SELECT 'entry ' || e.entry_id || ' has no postings' AS what FROM entries e
           WHERE NOT EXISTS (SELECT 1 FROM postings p WHERE p.entry_id = e.entry_id)""",
    ),
    _Query(
        "I1",
        "every balance is the sum of its postings",
        f"""SELECT 'account ' || a.account_id || ' (' || coalesce(a.user_id, a.kind) || ' ' || a.asset || ') holds units#'
                || a.balance || ' but its postings sum to units#' || coalesce(s.total, 0) AS what
            FROM accounts a LEFT JOIN
                 (SELECT p.account_id, {_SUM} AS total FROM postings p GROUP BY p.account_id) s
                 ON s.account_id = a.account_id
            WHERE a.balance IS NOT NULL AND a.balance <> coalesce(s.total, 0)""",
    ),
    _Query(
        "I2",
        "no user account is below zero at any instant",
        """SELECT 'user ' || user_id || ' holds units#' || holding || ' ' || asset || ' at instant#' || effective_at AS what
           FROM (SELECT a.user_id, a.asset, p.effective_at,
                        sum(p.amount) OVER (PARTITION BY p.account_id ORDER BY p.effective_at) AS holding
                 FROM postings p JOIN accounts a ON a.account_id = p.account_id WHERE a.kind = 'spot') t
           WHERE holding < 0""",
    ),
    _Query(
        "I2",
        "no pool is below zero in recorded order",
        """SELECT 'pool ' || asset || ' holds units#' || holding || ' after entry ' || entry_id AS what
           FROM (SELECT a.asset, p.entry_id,
                        sum(p.amount) OVER (PARTITION BY p.account_id ORDER BY p.entry_id) AS holding
                 FROM postings p JOIN accounts a ON a.account_id = p.account_id WHERE a.kind = 'pool') t
           WHERE holding < 0""",
    ),
    _Query(
        "I3",
        "one reward per user, asset and day",
        """SELECT 'user ' || user_id || ' has ' || count(*) || ' rewards for day#' || day || ' in ' || asset AS what
           FROM rewards GROUP BY user_id, asset, day HAVING count(*) > 1""",
    ),
    _Query(
        "I3",
        "one record per user and day",
        """SELECT 'user ' || user_id || ' has ' || count(*) || ' records of day#' || day AS what
           FROM days GROUP BY user_id, day HAVING count(*) > 1""",
    ),
    _Query(
        "I3",
        "one open enrolment per user",
        """SELECT 'user ' || user_id || ' has ' || count(*) || ' open enrolments' AS what
           FROM enrolments WHERE ended_at IS NULL GROUP BY user_id HAVING count(*) > 1""",
    ),
    _Query(
        "I4",
        "the watermark covers every closed day",
        """SELECT 'user ' || u.user_id || ' is closed through instant#' || u.closed_through || ' but day#' || d.day
                  || ' is closed' AS what
           FROM users u JOIN (SELECT user_id, max(day) AS day FROM days GROUP BY user_id) d
                ON d.user_id = u.user_id
           WHERE u.closed_through < (d.day + 1) * 86400000000""",
    ),
    _Query(
        "I5",
        "each opening is the closing before",
        """SELECT 'user ' || t.user_id || ' opens day#' || t.day || ' with units#' || t.opening || ' ' || t.asset
                  || ' but closed the day before with units#' || coalesce(y.closing, 0) AS what
           FROM snapshots t
           JOIN days d ON d.user_id = t.user_id AND d.day = t.day
           JOIN days b ON b.user_id = t.user_id AND b.day = t.day - 1
                      AND b.program_version = d.program_version
           LEFT JOIN snapshots y ON y.user_id = t.user_id AND y.day = t.day - 1 AND y.asset = t.asset
           WHERE t.opening <> coalesce(y.closing, 0)""",
    ),
    _Query(
        "I5",
        "each closing is the opening after",
        """SELECT 'user ' || y.user_id || ' closed day#' || y.day || ' with units#' || y.closing || ' ' || y.asset
                  || ' but the next day opens without' AS what
           FROM snapshots y
           JOIN days d ON d.user_id = y.user_id AND d.day = y.day
           JOIN days n ON n.user_id = y.user_id AND n.day = y.day + 1
                      AND n.program_version = d.program_version
           WHERE y.closing <> 0 AND NOT EXISTS (
               SELECT 1 FROM snapshots t
               WHERE t.user_id = y.user_id AND t.day = y.day + 1 AND t.asset = y.asset)""",
    ),
    _Query(
        "I6",
        "each credited reward is one posting from the pool to the user",
        """SELECT 'user ' || r.user_id || ' was to get units#' || r.reward || ' ' || r.asset || ' for day#' || r.day
                  || ' and got units#' || coalesce(s.amount, 0) AS what
           FROM rewards r JOIN days d ON d.user_id = r.user_id AND d.day = r.day
           LEFT JOIN accounts a ON a.user_id = r.user_id AND a.asset = r.asset AND a.kind = 'spot'
           LEFT JOIN postings s ON s.entry_id = d.entry_id AND s.account_id = a.account_id
           WHERE r.reward <> coalesce(s.amount, 0)""",
    ),
    _Query(
        "I6",
        "rewards credited equal the pool's outflow, per asset and day",
        f"""SELECT 'for day#' || coalesce(o.day, i.day) || ' the ' || coalesce(o.asset, i.asset) || ' pool paid units#'
                   || coalesce(o.total, 0) || ' and rewards come to units#' || coalesce(i.total, 0) AS what
            FROM (SELECT e.effective_at / 86400000000 - 1 AS day, a.asset, -{_SUM} AS total
                  FROM entries e JOIN postings p ON p.entry_id = e.entry_id
                  JOIN accounts a ON a.account_id = p.account_id
                  WHERE e.kind = 'reward' AND a.kind = 'pool' GROUP BY 1, 2) o
            FULL JOIN (SELECT p.day, p.asset, {_SUM} AS total
                       FROM (SELECT day, asset, reward AS amount FROM rewards WHERE reward > 0) p
                       GROUP BY 1, 2) i
            ON i.day = o.day AND i.asset = o.asset
            WHERE coalesce(o.total, 0) <> coalesce(i.total, 0)""",
    ),
    _Query(
        "I7",
        "each closed day has the program version in force on it",
        """SELECT 'day#' || d.day || ' of user ' || d.user_id || ' was closed under version ' || d.program_version
           AS what FROM days d
           WHERE d.program_version <> (
               SELECT v.version FROM program_versions v WHERE v.effective_from <= d.day
               ORDER BY v.effective_from DESC, v.version DESC LIMIT 1)""",
    ),
    _Query(
        "I7",
        "no later program version starts on a day that had begun",
        """SELECT 'version ' || version || ' starts on day#' || effective_from || ' but was applied on day#'
                  || (applied_at / 86400000000) AS what
           FROM program_versions
           WHERE version > (SELECT min(version) FROM program_versions)
             AND effective_from <= applied_at / 86400000000""",
    ),
    _Query(
        "complete",
        "no enrolment lacks the record of a day between its first and its last closed one",
        """SELECT 'enrolment ' || e.enrolment_id || ' of user ' || e.user_id || ' has ' || count(d.day)
                  || ' records of the ' || (max(d.day) - e.first_accrual_day + 1) || ' accrual days closed' AS what
           FROM enrolments e JOIN days d ON d.enrolment_id = e.enrolment_id AND d.user_id = e.user_id
                                        AND d.day >= e.first_accrual_day
           GROUP BY e.enrolment_id, e.user_id, e.first_accrual_day
           HAVING count(d.day) <> max(d.day) - e.first_accrual_day + 1""",
    ),
    _Query(
        "complete",
        "no day is closed while an earlier one is owed",
        """SELECT 'user ' || d.user_id || ' is still owed day#' || d.day || ' but a later day is closed' AS what
           FROM days d JOIN enrolments e ON e.enrolment_id = d.enrolment_id
           WHERE d.accrues AND d.credited_at IS NULL
             AND (e.last_accrual_day IS NULL OR d.day <= e.last_accrual_day)
             AND EXISTS (SELECT 1 FROM days n WHERE n.user_id = d.user_id AND n.day > d.day)""",
    ),
    _Query(
        "complete",
        "no day is closed while an ended enrolment is owed an earlier one",
        """SELECT 'enrolment ' || e.enrolment_id || ' of user ' || e.user_id || ' is owed days up to day#'
                  || e.last_accrual_day || ' but a later day is closed' AS what
           FROM enrolments e
           WHERE e.last_accrual_day >= e.first_accrual_day
             AND EXISTS (SELECT 1 FROM days n WHERE n.user_id = e.user_id AND n.day > e.last_accrual_day
                                                AND n.enrolment_id <> e.enrolment_id)
             AND NOT EXISTS (SELECT 1 FROM days l WHERE l.user_id = e.user_id AND l.day = e.last_accrual_day
                                                    AND l.enrolment_id = e.enrolment_id
                                                    AND l.credited_at IS NOT NULL)""",
    ),
    _Query(
        "complete",
        "every asset of a credited day has its reward row",
        """SELECT 'user ' || s.user_id || ' has no reward row for day#' || s.day || ' in ' || s.asset AS what
           FROM snapshots s JOIN days d ON d.user_id = s.user_id AND d.day = s.day
           WHERE d.credited_at IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM rewards r
               WHERE r.user_id = s.user_id AND r.day = s.day AND r.asset = s.asset)""",
    ),
    _Query(
        "complete",
        "no day is credited after its enrolment's last accrual day",
        """SELECT 'day#' || d.day || ' of user ' || d.user_id || ' was credited after the last accrual day day#'
                  || e.last_accrual_day AS what
           FROM days d JOIN enrolments e ON e.enrolment_id = d.enrolment_id
           WHERE d.credited_at IS NOT NULL AND d.day > e.last_accrual_day""",
    ),
)


@dataclass(frozen=True)
class _Judged:
    """A check of rows against the asset's terms in the program version that the row names."""

    invariant: str
    promise: str
    sql: str
    """Selects ``version``, ``asset`` and what the judge reads."""
    judge: Callable[[AnyRow, AssetTerms | None], str | None]
    """A sentence for a breach; the terms are None for an asset that is not in the program."""


def _moved_unseen(row: AnyRow, terms: AssetTerms | None) -> str | None:
    if terms is None:
        return None
    return f"user {row.user_id}'s {row.asset} moved on day#{row.day}, which was closed without it"


def _wrong_first_opening(row: AnyRow, terms: AssetTerms | None) -> str | None:
    if terms is None:
        return None
    return (
        f"user {row.user_id} opens day#{row.day} with units#{row.opening} {row.asset}; the postings before come to "
        f"units#{row.posted}"
    )


def _other_terms(row: AnyRow, terms: AssetTerms | None) -> str | None:
    if terms is not None and (terms.minimum, terms.cap, terms.apr) == (row.minimum, row.cap, row.apr):
        return None
    return f"{row.lines} rewards in {row.asset} differ from program version {row.version}"


def _wrong_reward(row: AnyRow, terms: AssetTerms | None) -> str | None:
    if terms is None:
        return None
    outcome, reward = outcome_and_reward(row.average, terms)
    if (row.outcome, row.reward) == (outcome, reward):
        return None
    return (
        f"user {row.user_id}'s {row.asset} reward for day#{row.day} is units#{row.reward} ({row.outcome}); its "
        f"average and terms come to units#{reward} ({outcome})"
    )


_JUDGED = (
    _Judged(
        "I4",
        "no program asset moved on a closed day without a snapshot",
        """SELECT DISTINCT d.program_version AS version, d.user_id, d.day, a.asset
           FROM days d
           JOIN accounts a ON a.user_id = d.user_id AND a.kind = 'spot'
           JOIN postings p ON p.account_id = a.account_id
                AND p.effective_at >= d.day * 86400000000 AND p.effective_at < (d.day + 1) * 86400000000
           LEFT JOIN snapshots s ON s.user_id = d.user_id AND s.day = d.day AND s.asset = a.asset
           WHERE s.user_id IS NULL""",
        _moved_unseen,
    ),
    _Judged(
        "I5",
        "each first opening is what was posted before",
        f"""SELECT d.program_version AS version, d.user_id, d.day, a.asset, coalesce(s.opening, 0) AS opening,
                   coalesce({_SUM}, 0) AS posted
            FROM days d
            JOIN accounts a ON a.user_id = d.user_id AND a.kind = 'spot'
            LEFT JOIN postings p ON p.account_id = a.account_id AND p.effective_at < d.day * 86400000000
            LEFT JOIN snapshots s ON s.user_id = d.user_id AND s.day = d.day AND s.asset = a.asset
            WHERE NOT EXISTS (SELECT 1 FROM days b WHERE b.user_id = d.user_id AND b.day = d.day - 1
                              AND b.program_version = d.program_version)
            GROUP BY d.program_version, d.user_id, d.day, a.asset, s.opening
            HAVING coalesce(s.opening, 0) <> coalesce({_SUM}, 0)""",
        _wrong_first_opening,
    ),
    _Judged(
        "I7",
        "each reward keeps the terms of its day's program version",
        """SELECT d.program_version AS version, r.asset, r.minimum, r.cap, r.apr, count(*) AS lines
           FROM rewards r JOIN days d ON d.user_id = r.user_id AND d.day = r.day
           GROUP BY 1, 2, 3, 4, 5""",
        _other_terms,
    ),
    _Judged(
        "rules 3 and 4",
        "each reward is what its average and terms come to",
        """SELECT d.program_version AS version, r.user_id, r.day, r.asset, r.reward, r.outcome, s.average
           FROM rewards r
           JOIN snapshots s ON s.user_id = r.user_id AND s.day = r.day AND s.asset = r.asset
           JOIN days d ON d.user_id = r.user_id AND d.day = r.day""",
        _wrong_reward,
    ),
)


async def audit(ledger: Ledger, *, on_progress: Callable[[str], None] | None = None) -> Audit:
    """Runs every check in one reading transaction; ``on_progress`` hears the promise that is checked next."""
    say = on_progress or _quietly
    checks: list[Check] = []
    async with ledger.read() as connection:
        for query in _QUERIES:
            say(query.promise)
            rows = (await connection.execute(text(query.sql))).fetchmany(BREACHES_SHOWN_MAX)
            breaches = [Breach(_readable(row.what)) for row in rows]
            checks.append(Check(query.invariant, query.promise, breaches))
        checks.append(await _snapshots_check(connection, say))
        programs = {version.version: version.program for version in await all_versions(connection)}
        for judged in _JUDGED:
            say(judged.promise)
            breaches = [Breach(_readable(what)) async for what in _judged(connection, judged, programs)]
            checks.append(Check(judged.invariant, judged.promise, breaches))
        counts = await connection.execute(
            text(
                "SELECT (SELECT count(*) FROM entries) AS entries, (SELECT count(*) FROM postings) AS postings,"
                " (SELECT count(*) FROM days WHERE credited_at IS NOT NULL) AS credited_days"
            )
        )
        row = counts.one()
    return Audit(checks, row.entries, row.postings, row.credited_days)


def _quietly(promise: str) -> None:
    pass


def _readable(what: str) -> str:
    """Days, instants and amounts, which the queries mark, as a person writes them."""
    what = re.sub(r"day#(\d+)", lambda found: str(_EPOCH_DAY + int(found[1]) * ONE_DAY), what)
    what = re.sub(
        r"instant#(\d+)", lambda found: str(start_of(_EPOCH_DAY) + timedelta(microseconds=int(found[1]))), what
    )
    return re.sub(r"units#(-?\d+)", lambda found: format_amount(int(found[1])), what)


async def _snapshots_check(connection: AsyncConnection, say: Callable[[str], None]) -> Check:
    """I4 and rule 2: recomputes every snapshot from its opening and the day's postings."""
    promise = "every snapshot is what its opening and that day's postings come to"
    say(promise)
    breaches: list[Breach] = []
    async for (user_id, day, asset), rows in _snapshots_with_movements(connection):
        recorded = rows[0]
        movements = [(row.effective_at, row.amount) for row in rows if row.amount is not None]
        expected = day_holding(day, recorded.opening, movements)
        if (recorded.closing, recorded.average) != (expected.closing, expected.average):
            what = (
                f"user {user_id}'s {asset} on {day} closed at units#{recorded.closing} with an average of "
                f"units#{recorded.average}; its postings come to units#{expected.closing} and "
                f"units#{expected.average}"
            )
            if len(breaches) < BREACHES_SHOWN_MAX:
                breaches.append(Breach(_readable(what)))
    return Check("I4", promise, breaches)


async def _snapshots_with_movements(
    connection: AsyncConnection,
) -> AsyncGenerator[tuple[tuple[str, date, str], list[AnyRow]]]:
    query = text(
        """SELECT s.user_id, s.day, s.asset, s.opening, s.closing, s.average, p.effective_at, p.amount
           FROM snapshots s
           LEFT JOIN accounts a ON a.user_id = s.user_id AND a.asset = s.asset AND a.kind = 'spot'
           LEFT JOIN postings p ON p.account_id = a.account_id
                AND p.effective_at >= s.day * 86400000000 AND p.effective_at < (s.day + 1) * 86400000000
           ORDER BY s.user_id, s.day, s.asset"""
    ).columns(day=UtcDay, effective_at=UtcInstant)
    group: list[AnyRow] = []
    async with connection.stream(query) as result:
        async for rows in result.partitions(10_000):
            for _, same in groupby(rows, key=_snapshot_key):
                some = list(same)
                if group and _snapshot_key(group[0]) != _snapshot_key(some[0]):
                    yield _snapshot_key(group[0]), group
                    group = []
                group += some
    if group:
        yield _snapshot_key(group[0]), group


def _snapshot_key(row: AnyRow) -> tuple[str, date, str]:
    return row.user_id, row.day, row.asset


async def _judged(
    connection: AsyncConnection, judged: _Judged, programs: dict[int, Program]
) -> AsyncGenerator[str]:
    """The sentences of the first BREACHES_SHOWN_MAX breaches."""
    shown = 0
    async with connection.stream(text(judged.sql)) as rows:
        async for row in rows:
            program = programs.get(row.version)
            what = judged.judge(row, program.assets.get(row.asset) if program else None)
            if what is not None:
                yield what
                shown += 1
            if shown == BREACHES_SHOWN_MAX:
                return
