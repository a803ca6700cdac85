"""The wallet of examples/exchange, against a real service: what it sends, books and compares."""

import shutil
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from commandline import clean_environment, utc_today
from polling import wait_until
from web_api import LiveWeb, a_live_web, make_token
from world import ROOT, activation

from examples.exchange.wallet import Service, Wallet
from ledger.service_tokens import Scope
from staking.days import ONE_DAY, start_of
from temporal.client import send_activation

WALLET = ROOT / "examples" / "exchange" / "wallet.py"
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Exchange:
    """An exchange that has the wallet, in a folder, and the service that it is connected to."""

    live: LiveWeb
    folder: Path
    token: str

    def run(self, *arguments: str) -> tuple[int, list[str]]:
        """Runs the wallet's program as its operator does; answers its exit code and its lines."""
        environment = {"STAKING_URL": self.live.address, "STAKING_TOKEN": self.token}
        done = subprocess.run(
            [sys.executable, WALLET, *arguments],
            cwd=self.folder,
            env=clean_environment(self.folder) | environment,
            capture_output=True,
            text=True,
        )
        return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]

    def lines(self, *arguments: str) -> list[str]:
        code, lines = self.run(*arguments)
        assert code == 0, lines
        return lines

    def move(self, user: str, *legs: str, at: datetime) -> None:
        assert self.lines("move", user, *legs, "--at", at.isoformat()) == []

    def wallet(self, name: str = "wallet.db") -> Wallet:
        """The same wallet, within the test."""
        return Wallet(
            str(self.folder / name), Service(self.live.address, self.token), clock=lambda: datetime.now(UTC)
        )

    def enrolled(self, user: str, activated_at: datetime) -> None:
        """An operator enrols a user who was enrolled elsewhere."""
        asked = activation(back_dated_to=activated_at)
        self.live.do(send_activation(self.live.client._client, user, asked, timeout=timedelta(minutes=1)))

    def credited_through(self, user: str, last: date) -> None:
        async def days() -> list[date]:
            return [line.day for line in await self.live.world.statement(user)]

        wait_until(lambda: last in self.live.do(days()), f"{last} is credited to {user}")


@pytest.fixture
def exchange(tmp_path: Path) -> Generator[Exchange]:
    folder = tmp_path / "exchange"
    folder.mkdir()
    with a_live_web(tmp_path) as live:
        headers = live.do(make_token(live.world, Scope.MOVE, Scope.EVENTS, Scope.READ))
        yield Exchange(live, folder, headers["Authorization"].removeprefix("Bearer "))


def test_rewards_are_booked_in_the_wallet_and_both_sides_agree(exchange: Exchange) -> None:
    today = utc_today()
    midnight = start_of(today)
    exchange.move("alice", "SOL=12", at=midnight - timedelta(days=6))
    exchange.move("alice", "SOL=-3.5", "USDT=525", at=midnight - timedelta(days=4) - HOUR)
    exchange.move("bob", "BTC=0.03", at=midnight - timedelta(days=4))
    wallet = exchange.wallet()
    assert wallet.report(midnight - ONE_DAY) == []
    exchange.enrolled("alice", midnight - timedelta(days=5) + HOUR)
    exchange.credited_through("alice", today - 2 * ONE_DAY)

    told = wallet.follow(wait_s=0)

    assert [line.partition(":")[0] for line in told] == [
        f"reward.credited of {today - days * ONE_DAY} to alice" for days in (4, 3, 2)
    ]
    assert exchange.lines("compare", str(today - ONE_DAY)) == [
        f"all balances before {today - ONE_DAY} are the same on both sides"
    ]
    header, sol, *others = exchange.lines("balances", str(today - ONE_DAY))
    assert (header, others) == ("user,asset,balance", ["alice,USDT,525.00000000", "bob,BTC,0.03000000"])
    assert float(sol.removeprefix("alice,SOL,")) > 8.5
    # The mark has not reached the next boundary, and the day before it is closed for nobody.
    assert exchange.run("compare", str(today)) == (1, [f"wallet may still send what happened before {today}"])
    wallet.close()


def test_a_wallet_that_lost_its_latest_hours_ends_with_the_same_books(exchange: Exchange) -> None:
    today = utc_today()
    midnight = start_of(today)
    exchange.move("alice", "SOL=12", at=midnight - timedelta(days=4))
    exchange.move("alice", "SOL=-2", at=midnight - timedelta(days=2) + HOUR)
    shutil.copy(exchange.folder / "wallet.db", exchange.folder / "backup.db")
    exchange.lines("run", "--once")
    exchange.enrolled("alice", midnight - timedelta(days=3) + HOUR)
    exchange.credited_through("alice", today - ONE_DAY)
    assert len(exchange.lines("run", "--once")) == 2
    books = exchange.lines("balances", str(today))

    shutil.copy(exchange.folder / "backup.db", exchange.folder / "wallet.db")
    again = exchange.lines("run", "--once")

    assert [line.partition(":")[0] for line in again] == [
        f"reward.credited of {today - days * ONE_DAY} to alice" for days in (2, 1)
    ]
    assert exchange.lines("balances", str(today)) == books
    assert exchange.run("compare", str(today))[0] == 0


def test_a_cursor_that_is_not_known_any_more_books_no_reward_twice(exchange: Exchange) -> None:
    today = utc_today()
    exchange.move("alice", "SOL=12", at=start_of(today) - timedelta(days=4))
    exchange.lines("run", "--once")
    exchange.enrolled("alice", start_of(today) - timedelta(days=3))
    exchange.credited_through("alice", today - ONE_DAY)
    exchange.lines("run", "--once")
    books = exchange.lines("balances", str(today + ONE_DAY))

    wallet = exchange.wallet()
    wallet._set_state("cursor", "123456789")
    wallet.close()

    assert exchange.lines("run", "--once") == []
    assert len(exchange.lines("run", "--once")) > 0
    assert exchange.lines("balances", str(today + ONE_DAY)) == books


def test_what_the_ledger_refuses_is_told_once_and_is_a_difference_until_it_fits(exchange: Exchange) -> None:
    today = utc_today()
    exchange.move("alice", "SOL=-2", at=start_of(today) - timedelta(days=2))

    (told,) = exchange.lines("run", "--once")
    assert "is refused: user alice's SOL balance is 0.00000000" in told
    assert exchange.lines("run", "--once") == []
    assert exchange.run("compare", str(today)) == (1, ["SOL: the wallet has -2.00000000, the ledger 0.00000000"])

    exchange.live.do(exchange.live.world.move("alice", "5", "SOL", start_of(today) - timedelta(days=3)))
    exchange.lines("run", "--once")
    assert exchange.run("compare", str(today)) == (1, ["SOL: the wallet has -2.00000000, the ledger 3.00000000"])


def test_a_trade_that_does_not_fit_into_a_request_any_more_goes_whole_into_the_next_one(
    exchange: Exchange,
) -> None:
    wallet = exchange.wallet()
    before = start_of(utc_today()) - ONE_DAY
    for _ in range(998):
        wallet.book("alice", {"SOL": "1"}, before)
    wallet.book("alice", {"SOL": "-3", "USDT": "400", "BNB": "0.00000001"}, before)

    assert wallet.report() == []

    assert exchange.live.do(exchange.live.world.balances("alice")) == {
        "SOL": 995 * 10**8,
        "USDT": 400 * 10**8,
        "BNB": 1,
    }
    assert wallet.compare(utc_today()) == []
    wallet.close()


def test_a_movement_before_what_was_reported_is_not_booked(exchange: Exchange) -> None:
    exchange.lines("run", "--once")

    code, said = exchange.run("move", "alice", "SOL=1", "--at", "2026-01-01T00:00:00Z")

    assert (code, "was reported already" in said[0]) == (1, True)
    assert exchange.lines("move", "alice", "SOL=1") == []
    assert exchange.lines("run", "--once") == []
    assert exchange.live.do(exchange.live.world.balances("alice")) == {"SOL": 10**8}
