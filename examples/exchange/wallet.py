"""A small wallet of an exchange that is connected to Soft Staking over HTTP. It needs nothing but Python.

It keeps its own books in a SQLite file: what its users moved, and what they were credited. docs/connect.md says
why it does what it does. STAKING_URL names the service, STAKING_TOKEN a token with the scopes ``move``,
``events`` and ``read``.

    python examples/exchange/wallet.py move alice SOL=12
    python examples/exchange/wallet.py run
    python examples/exchange/wallet.py compare 2026-10-03
"""

import argparse
import hashlib
import http.client
import json
import os
import sqlite3
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

SOURCE = "wallet"
MOVEMENTS_MAX = 1000
"""As many as the service takes in one request."""
EVENTS_MAX = 500
TIMEOUT_S = 60
PAUSES_S = (0.5, 1, 2, 4, 8, 16)
"""Before each repeat of a request that was not answered."""
BEGINNING = "0"
"""The cursor of the oldest event that is kept."""
UNITS_PER_TOKEN = 10**8
_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    asset TEXT NOT NULL,
    units INTEGER NOT NULL,
    at TEXT NOT NULL,
    trade TEXT,
    counts_from TEXT,
    refused_because TEXT
);
CREATE INDEX IF NOT EXISTS unsent ON entries (number) WHERE counts_from IS NULL;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class ServiceRefused(Exception):
    """The service answered with an error. A repeat would not help."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(f"the service answers {status}: {detail}")


class Service:
    """Soft Staking, as this wallet calls it."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Sends a request until it is answered, since every request of this wallet is safe to repeat.

        Raises ServiceRefused, and OSError if there is no answer after half a minute.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers, method=method)
        for pause_s in PAUSES_S:
            try:
                return self._answer(request)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in (429, 503):
                        raise ServiceRefused(error.code, _detail(error)) from None
                    time.sleep(max(pause_s, float(error.headers.get("Retry-After") or 0)))
            except (OSError, http.client.HTTPException):
                time.sleep(pause_s)
        return self._answer(request)

    def _answer(self, request: urllib.request.Request) -> Any:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)


class Wallet:
    """The wallet's own books, and what it does with them. Instants are UTC, amounts units of 10⁻⁸ of a token."""

    def __init__(self, file: str, service: Service, clock: Callable[[], datetime]) -> None:
        self._service = service
        self._clock = clock
        self._books = sqlite3.connect(file, isolation_level=None)
        self._books.executescript(_TABLES)

    def close(self) -> None:
        self._books.close()

    def book(self, user: str, legs: Mapping[str, str], at: datetime | None = None) -> None:
        """Records what a user moved: tokens of each asset, signed. Several legs are a trade.

        Raises ValueError if it happened before an instant up to which this wallet has reported everything.
        """
        with self._transaction():
            complete_through = self._state("complete_through", "")
            happened = _text(at or self._clock())
            if happened < complete_through and at:
                raise ValueError(f"everything before {complete_through} was reported already")
            # The clock may have been set back meanwhile.
            happened = max(happened, complete_through)
            trade = str(uuid.uuid4()) if len(legs) > 1 else None
            for asset, tokens in legs.items():
                self._write(str(uuid.uuid4()), user, asset, _units(tokens), happened, trade=trade)

    def send(self) -> list[str]:
        """Sends what the ledger does not have yet, in order, and what it refused once more.

        Answers a sentence for each that is refused, or refused for a new reason. An answer that is lost does no
        harm: the same ids are sent again, and what is there already is answered as repeated.
        """
        told: list[str] = []
        number = 0
        while rows := self._unsent(after=number):
            body = {"movements": [_movement(row) for row in rows]}
            results = self._service.call("POST", "/v1/movements", body)["results"]
            with self._transaction():
                for row, result in zip(rows, results, strict=True):
                    reason = result["reason"] and result["reason"]["sentence"]
                    counts_from = result["counts_from"] and _text(_instant(result["counts_from"]))
                    self._books.execute(
                        "UPDATE entries SET counts_from = ?, refused_because = ? WHERE id = ?",
                        (counts_from, reason, row["id"]),
                    )
                    if reason and reason != row["refused_because"]:
                        told.append(f"{row['id']} is refused: {reason}")
            number = rows[-1]["number"]
        return told

    def report(self, through: datetime | None = None) -> list[str]:
        """Sends everything that happened before an instant, now unless it is given, and moves the wallet's mark
        there. Answers as ``send`` does."""
        with self._transaction():
            # While this transaction has the lock, nothing is booked. So what is booked later happened later.
            mark = max(_text(through or self._clock()), self._state("complete_through", ""))
            self._set_state("complete_through", mark)
        told = self.send()
        self._service.call("PUT", f"/v1/sources/{SOURCE}", {"complete_through": mark})
        return told

    def follow(self, wait_s: int = 20) -> list[str]:
        """Books the rewards that came since the last call. Waits for one, if there is none. Answers a sentence for
        each event.

        A reward is in the ledger's balance already when it is told, so it is never sent back as a movement.
        """
        cursor = self._state("cursor", BEGINNING)
        kinds = "reward.credited,reward.reversed"
        query = f"after={cursor}&limit={EVENTS_MAX}&wait={wait_s}&types={kinds}"
        page: dict[str, Any]
        try:
            page = self._service.call("GET", f"/v1/events?{query}")
        except ServiceRefused as error:
            if error.status != http.client.GONE:
                raise
            # From the beginning again: what was booked already is known by its id.
            page = {"events": [], "cursor": BEGINNING}
        with self._transaction():
            # The cursor is kept in the transaction that books, so each event is booked once.
            told = [self._book_reward(event) for event in page["events"]]
            self._set_state("cursor", page["cursor"])
        return told

    def balances(self, day: date) -> list[tuple[str, str, int]]:
        """What each user held just before 00:00 UTC of a day, in the order of the digest: user, asset, units."""
        query = (
            "SELECT user, asset, sum(units) FROM entries WHERE coalesce(counts_from, at) < ? "
            "GROUP BY user, asset HAVING sum(units) <> 0 ORDER BY user, asset"
        )
        return list(self._books.execute(query, (_boundary(day),)))

    def compare(self, day: date) -> list[str]:
        """Compares all balances at a boundary with those of the ledger. Answers a sentence for each difference."""
        theirs = self._service.call("GET", f"/v1/reconciliation/{day}")
        if theirs["late_sources"]:
            return [f"{', '.join(theirs['late_sources'])} may still send what happened before {day}"]
        ours = self.balances(day)
        if theirs["digest"] == _digest(ours):
            return []
        totals = {total["asset"]: _units(total["balance"]) for total in theirs["totals"]}
        mine = {asset: sum(units for _, other, units in ours if other == asset) for _, asset, _ in ours}
        return [
            f"{asset}: the wallet has {_tokens(mine.get(asset, 0))}, the ledger {_tokens(totals.get(asset, 0))}"
            for asset in sorted(mine.keys() | totals.keys())
            if mine.get(asset) != totals.get(asset)
        ] or [
            "the totals are the same, but not the balances of every user: compare them with starter.py reconcile"
        ]

    def _book_reward(self, event: Mapping[str, Any]) -> str:
        user, day = event["subject"], date.fromisoformat(event["data"]["day"])
        is_credit = event["type"] == "reward.credited"
        # A day's reward belongs to the day after it. A correction counts from when it was made.
        counts_from = _boundary(day + timedelta(days=1)) if is_credit else _text(_instant(event["time"]))
        lines = {
            line["asset"]: _units(line["reward"]) if is_credit else -_units(line["amount"])
            for line in event["data"]["lines"]
        }
        for asset, units in lines.items():
            self._write(f"{event['id']} {asset}", user, asset, units, counts_from, counts_from=counts_from)
        amounts = ", ".join(f"{_tokens(units)} {asset}" for asset, units in lines.items() if units)
        return f"{event['type']} of {day} to {user}: {amounts or 'nothing'}"

    def _write(
        self,
        entry_id: str,
        user: str,
        asset: str,
        units: int,
        at: str,
        *,
        trade: str | None = None,
        counts_from: str | None = None,
    ) -> None:
        self._books.execute(
            "INSERT INTO entries (id, user, asset, units, at, trade, counts_from) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO NOTHING",
            (entry_id, user, asset, units, at, trade, counts_from),
        )

    def _unsent(self, *, after: int) -> list[dict[str, Any]]:
        """The next movements that fit into a request. The legs of a trade stay together."""
        found = self._books.execute(
            "SELECT number, id, user, asset, units, at, trade, refused_because FROM entries "
            "WHERE counts_from IS NULL AND number > ? ORDER BY number LIMIT ?",
            (after, MOVEMENTS_MAX),
        )
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found]
        last = rows[-1]["trade"] if len(rows) == MOVEMENTS_MAX else None
        return [row for row in rows if last is None or row["trade"] != last]

    def _state(self, name: str, otherwise: str) -> str:
        row = self._books.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return row[0] if row else otherwise

    def _set_state(self, name: str, value: str) -> None:
        self._books.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._books.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._books.execute("ROLLBACK")
            raise
        self._books.execute("COMMIT")


def _movement(row: Mapping[str, Any]) -> dict[str, str]:
    """A movement as the service takes it."""
    tied = {"group": row["trade"]} if row["trade"] else {}
    return {
        **{name: row[name] for name in ("id", "user", "asset", "at")},
        "amount": _tokens(row["units"]),
        **tied,
    }


def _digest(balances: list[tuple[str, str, int]]) -> str:
    hashed = hashlib.sha256()
    for user, asset, units in balances:
        hashed.update(f"{user} {asset} {_tokens(units)}\n".encode())
    return hashed.hexdigest()


def _units(tokens: str) -> int:
    units = Decimal(tokens) * UNITS_PER_TOKEN
    if units != int(units):
        raise ValueError(f"{tokens} has more than 8 decimals")
    return int(units)


def _tokens(units: int) -> str:
    return f"{Decimal(units) / UNITS_PER_TOKEN:.8f}"


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text} does not say in which time zone it is, such as 2026-10-01T06:00:00Z")
    return instant


def _text(instant: datetime) -> str:
    """An instant, of one length, so that texts compare as instants do."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _boundary(day: date) -> str:
    return f"{day}T00:00:00.000000Z"


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return json.load(error)["detail"]
    except (ValueError, KeyError):
        return error.reason


def _leg(text: str) -> tuple[str, str]:
    asset, _, tokens = text.partition("=")
    _units(tokens)
    return asset, tokens


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A small wallet that is connected to Soft Staking.")
    parser.add_argument("--books", default="wallet.db", help="the SQLite file of the wallet's own books")
    commands = parser.add_subparsers(dest="command", required=True)
    move = commands.add_parser("move", help="book what a user moved; several legs are a trade")
    move.add_argument("user")
    move.add_argument("legs", nargs="+", type=_leg, metavar="ASSET=AMOUNT", help="such as SOL=-3.5 USDT=525")
    move.add_argument("--at", type=_instant, help="when it happened; now, unless it is given")
    run = commands.add_parser("run", help="send movements, move the mark and book rewards, until Ctrl-C")
    run.add_argument("--once", action="store_true", help="one round, without waiting")
    for name, does in (("balances", "print all balances as CSV"), ("compare", "compare them with the ledger's")):
        of_day = commands.add_parser(name, help=f"{does}, just before 00:00 UTC of a day")
        of_day.add_argument("day", type=date.fromisoformat)
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    service = Service(os.environ["STAKING_URL"], os.environ["STAKING_TOKEN"])
    wallet = Wallet(arguments.books, service, lambda: datetime.now(UTC))
    match arguments.command:
        case "move":
            wallet.book(arguments.user, dict(arguments.legs), arguments.at)
        case "balances":
            print("user,asset,balance")
            for user, asset, units in wallet.balances(arguments.day):
                print(f"{user},{asset},{_tokens(units)}")
        case "compare":
            differences = wallet.compare(arguments.day)
            print("\n".join(differences) or f"all balances before {arguments.day} are the same on both sides")
            return 1 if differences else 0
        case _:
            while True:
                told = [*wallet.report(), *wallet.follow(wait_s=0 if arguments.once else 20)]
                print("".join(f"{sentence}\n" for sentence in told), end="", flush=True)
                if arguments.once and not told:
                    break
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (ServiceRefused, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
