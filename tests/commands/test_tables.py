"""Tables for people: however narrow the terminal is, nothing in them is cut."""

import ast
import asyncio
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from fcntl import ioctl
from typing import Any

import pytest
from commandline import STARTER, CommandLine, an_empty_ledger, utc_today
from feeding import feed, sent
from rich.cells import cell_len
from world import EXPORT_HEADER, ROOT, SHIPPED_PROGRAM, World, a_world, at

from commands.find import print_users
from commands.reward_tables import print_calendar, print_totals
from contract.acts import Act
from contract.requests import ActRequest
from ledger.acts import hold
from ledger.database.engine import open_ledger
from ledger.feed.messages import Message, said_in
from ledger.feed.refused_messages import keep_refused_messages
from ledger.reading.statement_text import COMPUTED_COLUMNS
from ledger.reading.statements import StatementLine
from staking.days import ONE_DAY, end_of, start_of
from staking.money import format_amount
from temporal.visibility import FoundUser

WIDTHS = (40, 60, 80, 120, 200, None)
"""The width of the terminal; None for no terminal."""
ACTIVATED_ON = utc_today() - 8 * ONE_DAY
FORTUNE = "88888888888.88888888"
REASON = "ticket-4711 of 2026-10-04: paid by [b]mistake[/b],\n12345678.00000001 SOL too much"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Printed:
    """What a person sees, and the width of the terminal; None for no terminal."""

    text: str
    width: int | None

    @property
    def left_out(self) -> set[str]:
        """The titles of the columns that it says are not shown."""
        told = " ".join(self.text.split())
        sentences = re.findall(r"Not shown, for want of room: (.*?)\. A wider terminal", told)
        return {title for titles in sentences for title in titles.split(", ")}

    def assert_whole(self, rows: list[dict[str, Any]]) -> None:
        """Tests that every word of every value is under its column's title, and that the terminal breaks no
        line."""
        assert rows
        words = set(self.text.split())
        for row in rows:
            for title, value in row.items():
                cut = set(str(value).split()) - words
                assert not cut or title in self.left_out, (self.width, title, cut, self.text)
        if self.width is None:
            assert not self.left_out
            return
        for line in self.text.splitlines():
            is_one_long_word = len(line.split()) == 1
            assert cell_len(line) <= self.width or is_one_long_word, (self.width, line)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A shell with a ledger in which everything was done at least once, with the longest possible amounts."""
    folder = tmp_path_factory.mktemp("tables")
    shell = an_empty_ledger(folder)
    keys = ",".join(f"2026-{month}-01-abcd:{'A' * 43}=" for month in (10, 11))
    shell.environment |= {
        "SOFT_STAKING_DATABASE_URL": f"sqlite:///{folder}/ledger.db",
        "SOFT_STAKING_PAYLOAD_KEYS": keys,
    }
    asyncio.run(fill_ledger(shell))
    first_reward = shell.json("rewards", "ann")[0]
    shell.json(
        "ledger",
        "reverse",
        first_reward["user"],
        str(first_reward["entry_id"]),
        "--reason",
        REASON,
        "--operator",
        "zoe",
    )
    shell.json("program", "pause", "BNB", "ALGO", "--reason", REASON)
    shell.json("tokens", "create", "the spot page of the exchange", "--scope", "read", "--scope", "activate")
    shell.json("keys", "create", "ann", "--region", "FR", "--accept-terms")
    names = ("交易记录 [b]2025[b] (UTC+9).csv", "part-of-a-long-name-without-blanks-00001 (UTC+9).csv")
    for number, (name, asset) in enumerate(zip(names, ("币安人生", "币" * 32), strict=True), start=1):
        line = f"carl,2025-0{number}-01 10:00:00,现货,存款,{asset},{FORTUNE},{REASON.partition(',')[0]}"
        shell.write(name, f"用户ID,时间,账户,操作,币种,变化,备注\n{line}\n")
    shell.json("import", *names, "--reason", REASON, "--operator", "zoe")
    shell.json(
        "import",
        shell.write(
            "b (UTC+9).csv",
            f"{EXPORT_HEADER.replace('UTC_', '')}\nbob,2025-01-01 10:00:00,Spot,Deposit,BTTC.OLD-1,1,",
        ),
    )
    shell.json("imports", "undo", "2", "--reason", REASON)
    shell.write("balances.csv", shell.run("export", "balances", "--at", str(utc_today())).out)
    for source in ("wallet", "w" * 64):
        shell.json("sources", "complete", source, "2026-10-02T00:00:00Z")
    shell.json("sources", "release", "wallet", "--reason", REASON)
    shell.json("webhooks", "add", "https://93.184.215.14/events", "--type", "reward.credited")
    shell.json("webhooks", "add", f"https://93.184.215.14/{'e' * 60}")
    return shell


async def fill_ledger(shell: CommandLine) -> None:
    async with a_world(shell.folder) as world:
        for user in ("ann", "bob"):
            await world.move(user, FORTUNE, "SOL", start_of(ACTIVATED_ON))
            await world.move(user, "0.00000001", "ADA", start_of(ACTIVATED_ON))
            await world.enrol(user, start_of(ACTIVATED_ON) + timedelta(hours=10))
            await world.snapshot(user, ACTIVATED_ON)
        await hold(
            world.ledger,
            ActRequest(
                user_id="bob", act_id="a", act=Act(operator="zoe", reason=REASON), now=end_of(ACTIVATED_ON)
            ),
        )
        for number in (1, 2):
            await world.pay("ann", ACTIVATED_ON + number * ONE_DAY)
        await feed(
            world,
            sent(f"-{FORTUNE}", "币安人生", user="carl", key="m" * 128, group="trade [b]1[/b]"),
            sent("1.123456789", user="dave", key="too-fine"),
        )
        broken = [Message(7, 0, 88_888_888_888, said_in(b'[b]{"id": "m-1"', at("2026-10-05")))]
        async with world.ledger.write() as connection:
            await keep_refused_messages(connection, "movements", broken, now=at("2026-10-05"))


@pytest.fixture(scope="module")
def lines(shell: CommandLine) -> list[StatementLine]:
    async def read() -> list[StatementLine]:
        async with open_ledger(shell.environment["SOFT_STAKING_DATABASE_URL"]) as ledger:
            return await World(ledger).statement()

    return asyncio.run(read())


def to_the_second(instant: str) -> str:
    """An instant of the JSON form, as most tables show it."""
    return re.sub(r"T([0-9:]{8}).*Z", r" \1 UTC", instant)


def exactly(instant: str) -> str:
    """An instant of the JSON form, as tables show it if a person may type it again."""
    return instant.replace("T", " ").replace("Z", " UTC")


Rows = list[dict[str, Any]]


def program_rows(answer: Any) -> Rows:
    return [
        {
            "asset": asset,
            "minimum": terms["minimum"],
            "cap": terms["cap"],
            "APR": terms["apr"],
            "price USDT": terms["reference_price"],
            "paused": "yes" if terms["paused"] else "",
        }
        for version in (answer, *answer["later"])
        for asset, terms in version["assets"].items()
    ]


def entry_rows(answer: Any) -> Rows:
    return [
        {
            "entry": entry["entry_id"],
            "counts from": exactly(entry["effective_at"]),
            "kind": entry["kind"],
            "change": change if change.startswith("-") else f"+{change}",
            "asset": asset,
            "holding": entry["holdings"][asset],
            "recorded": exactly(entry["recorded_at"]),
            "remarks": f"reason: {entry['reason']}, by {entry['operator']}" if entry["reason"] else "",
        }
        for entry in answer["entries"]
        for asset, change in entry["changes"].items()
    ]


def pool_entry_rows(answer: Any) -> Rows:
    return [
        {
            "entry": entry["entry_id"],
            "recorded": exactly(entry["recorded_at"]),
            "kind": entry["kind"],
            "change": change if change.startswith("-") else f"+{change}",
            "asset": asset,
            "user": entry["user"] or "",
            "remarks": f"by {entry['operator']}" if entry["operator"] else "",
        }
        for entry in answer["entries"]
        for asset, change in entry["changes"].items()
    ]


def audit_rows(answer: Any) -> Rows:
    checks = [
        {"invariant": check["invariant"], "verdict": "holds", "promise": check["promise"]}
        for check in answer["checks"]
    ]
    return checks + owed_rows(answer)


def owed_rows(answer: Any) -> Rows:
    titles = {"days": "owed days", "late_days": "of them late"}
    return [
        {titles.get(name, name): value for name, value in each.items() if name != "enrolment_id"}
        for each in answer["owed"]
    ]


def reward_rows(answer: Any) -> Rows:
    columns = [{name: row[name] for name in COMPUTED_COLUMNS} for row in answer]
    return [
        row | {"remark": "reversed" if paid["reversed_by"] else ""}
        for row, paid in zip(columns, answer, strict=True)
    ]


def reward_entry_rows(answer: Any) -> Rows:
    return [
        {
            "entry": entry["entry_id"],
            "recorded at": to_the_second(entry["recorded_at"]),
            **{name: entry[name] for name in ("day", "asset", "amount")},
            "reverses": entry["reverses"] or "",
        }
        for entry in answer
    ]


def pool_rows(answer: Any) -> Rows:
    titles = {"outflow_yesterday": "paid yesterday", "waiting_users": "waiting"}
    return [
        {titles.get(name, name): value for name, value in pool.items() if name != "days_left"}
        for pool in answer["pools"]
    ]


def token_rows(answer: Any) -> Rows:
    return [
        {
            "id": token["id"],
            "name": token["name"],
            "scopes": ", ".join(token["scopes"]),
            "created": to_the_second(token["created_at"]),
        }
        for token in answer
    ]


def act_rows(answer: Any) -> Rows:
    return [
        {
            "recorded at": to_the_second(act["recorded_at"]),
            "user": act["user"] or "",
            "act": act["act"],
            "on": act["subject"] or "",
            "operator": act["operator"],
            "reason": act["reason"] or "none given",
            "text for the user": act["tell"] or "",
        }
        for act in answer
    ]


def import_rows(answer: Any) -> Rows:
    return [
        {
            "import": one["import_number"],
            "recorded at": to_the_second(one["recorded_at"]),
            "state": one["state"],
            "movements": one["movements"],
            "users": one["users"],
            "reversed": one["taken_back"] or "",
            "operator": one["operator"],
            "files": ", ".join(one["files"]),
        }
        for one in answer
    ]


def span_rows(answer: Any) -> Rows:
    of_all = {
        "import": answer["import_number"],
        "state": answer["state"],
        "zone": answer["zone"],
        "reason": answer["reason"],
        "operator": answer["operator"],
        "files": ", ".join(answer["files"]),
    }
    spans = [
        {"user": span["user"], "first": to_the_second(span["first"]), "last": to_the_second(span["last"])}
        for span in answer["spans"]
    ]
    return [of_all, *spans]


def refused_movement_rows(answer: Any) -> Rows:
    sent = ("id", "user", "amount", "asset", "at")
    messages = [
        {
            "message": f"{one['topic']}/{one['partition']}/{one['offset']}",
            "bytes": one["size_bytes"],
            "refused": to_the_second(one["refused_at"]),
            "content": one["content"],
            "why": one["reason"]["sentence"],
        }
        for one in answer
        if "topic" in one
    ]
    return messages + [
        {
            **{name: one[name] for name in sent},
            "group": one["group"] or "",
            "times": one["times"],
            "last refused": to_the_second(one["last_refused_at"]),
            "why": one["reason"]["sentence"],
        }
        for one in answer
        if "topic" not in one
    ]


def source_rows(answer: Any) -> Rows:
    return [
        {
            "source": source["name"],
            "complete through": to_the_second(source["complete_through"]),
            "released through": to_the_second(source["released_through"] or ""),
            "last heard": to_the_second(source["told_at"]),
            "registered": to_the_second(source["registered_at"]),
        }
        for source in answer
    ]


def webhook_rows(answer: Any) -> Rows:
    return [
        {
            "id": webhook["id"],
            "url": webhook["url"],
            "types": ", ".join(webhook["types"]) or "all",
            "delivered": webhook["delivered_through"],
        }
        for webhook in answer
    ]


def total_rows(answer: Any) -> Rows:
    return answer["totals"]


@dataclass(frozen=True)
class Table:
    """A command that prints a table: its place in the code, and the rows that are expected from its JSON form."""

    command: tuple[str, ...]
    places: set[str]
    """Modules and functions of them that print tables."""
    rows: Callable[[Any], Rows]

    def __str__(self) -> str:
        return " ".join(self.command)


TABLES = [
    Table(("rewards", "ann"), {"rewards._print_table"}, reward_rows),
    Table(("rewards", "ann", "--as", "entries"), {"rewards.print_entries"}, reward_entry_rows),
    Table(("audit",), {"audit.print_audit", "audit._print_owed"}, audit_rows),
    Table(("owed",), {"find.owed"}, owed_rows),
    Table(("acts",), {"operators.acts"}, act_rows),
    Table(("program", "show"), {"program._print"}, program_rows),
    Table(
        ("pool", "show"),
        {"pool.show"},
        pool_rows,
    ),
    Table(("ledger", "show", "ann"), {"entries.print_steps"}, entry_rows),
    Table(("ledger", "show", "--pool", "SOL"), {"entries.print_pool_entries"}, pool_entry_rows),
    Table(("ledger", "show", "carl"), {"entries.print_steps"}, entry_rows),
    Table(("imports", "list"), {"imports.list_"}, import_rows),
    Table(("imports", "show", "1"), {"imports.show"}, span_rows),
    Table(("movements", "refused"), {"refused_movements.refused"}, refused_movement_rows),
    Table(("sources", "list"), {"sources.list_"}, source_rows),
    Table(("reconcile", "balances.csv", "--at", str(utc_today())), {"reconcile.print_totals"}, total_rows),
    Table(("webhooks", "list"), {"webhooks.list_"}, webhook_rows),
    Table(("tokens", "list"), {"tokens.list_"}, token_rows),
    Table(("payload-keys", "list"), {"payload_keys.list_"}, lambda answer: answer),
]
PRINTED_WITHOUT_A_COMMAND = {
    "find.print_users",
    "reward_tables.print_calendar",
    "reward_tables.print_totals",
}
"""The tables of commands that need a Temporal server or a whole demonstration."""


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_no_value_of_a_table_is_cut_however_narrow_the_terminal(shell: CommandLine, table: Table) -> None:
    rows = table.rows(shell.json(*table.command))
    for width in WIDTHS:
        terminal = {} if width is None else {"TTY_COMPATIBLE": "1", "COLUMNS": str(width)}
        answer = shell.run(*table.command, **terminal)
        assert answer.code == 0, answer
        Printed(ANSI.sub("", answer.out), width).assert_whole(rows)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (200, set()),
        (120, {"cap", "minimum", "apr"}),
        (80, {"cap", "minimum", "apr", "opening", "closing"}),
    ],
)
def test_the_narrower_the_terminal_the_less_of_a_statement_stands_side_by_side(
    shell: CommandLine, width: int, left_out: set[str]
) -> None:
    answer = shell.run("rewards", "ann", TTY_COMPATIBLE="1", COLUMNS=str(width))
    assert Printed(ANSI.sub("", answer.out), width).left_out == left_out


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """The width of the terminal that this process is made to see; None for no terminal."""
    if request.param is not None:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def test_the_tables_of_a_demonstration_are_whole(
    lines: list[StatementLine], width: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    last_day = lines[-1].day
    print_calendar(lines, last_day=last_day)
    print_totals(lines, SHIPPED_PROGRAM)
    printed = Printed(ANSI.sub("", capsys.readouterr().out), width)

    kept = {
        asset: format_amount(sum(line.kept for line in lines if line.asset == asset)) for asset in ("ADA", "SOL")
    }
    printed.assert_whole(
        [
            {
                "user": "ann",
                "asset": asset,
                f"{lines[0].day} … {last_day}": "↺▲" if asset == "SOL" else "↺·",
                "last average": format_amount(
                    next(line.average for line in reversed(lines) if line.asset == asset)
                ),
                "days paid": "1" if asset == "SOL" else "0",
                "rewards": reward,
                "total": reward,
            }
            for asset, reward in kept.items()
        ]
    )


def test_the_list_of_users_is_whole(width: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    users = [
        FoundUser("ann", "earning", "UA-43", False, None, "running"),
        FoundUser("bob.with-an-id-of.thirty-two.letters", "waiting_for_pool", "FR", True, REASON, "terminated"),
    ]
    print_users(users)
    printed = Printed(ANSI.sub("", capsys.readouterr().out), width)

    printed.assert_whole(
        [
            {
                "user": user.user_id,
                "state": user.state,
                "region": user.region,
                "held": "yes" if user.is_held else "no",
                "end reason": user.end_reason or "",
                "workflow": user.workflow,
            }
            for user in users
        ]
    )


def test_a_table_in_a_pipe_has_each_row_in_one_line(shell: CommandLine) -> None:
    rows = shell.json("acts")
    lines = shell.run("acts").out.splitlines()
    assert len(lines) == 1 + len(rows)
    reasons = [" ".join((row["reason"] or "none given").split()) for row in rows]
    assert [reason in line for reason, line in zip(reasons, lines[1:], strict=True)] == [True] * len(rows)
    assert " ".join(REASON.split()) in reasons


def test_a_real_terminal_of_forty_columns_is_seen(shell: CommandLine) -> None:
    rows = reward_rows(shell.json("rewards", "ann"))
    theirs, ours = pty.openpty()
    ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 40, 0, 0))
    command = subprocess.Popen(
        [sys.executable, STARTER, "rewards", "ann"],
        stdout=ours,
        cwd=shell.folder,
        env=shell.environment | {"TERM": "xterm"},
    )
    os.close(ours)
    text = b""
    with suppress(OSError):  # Linux raises this error after the other side has closed.
        while part := os.read(theirs, 4096):
            text += part
    os.close(theirs)
    assert command.wait() == 0
    printed = Printed(ANSI.sub("", text.decode()).replace("\r", ""), 40)
    printed.assert_whole(rows)


def places_that_print_tables() -> Iterator[str]:
    for file in sorted((ROOT / "commands").glob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
                if any(isinstance(call, ast.Name) and call.id == "print_table" for call in calls):
                    yield f"{file.stem}.{function.name}"


def test_every_table_is_tested_here() -> None:
    known = PRINTED_WITHOUT_A_COMMAND.union(*(table.places for table in TABLES))
    assert set(places_that_print_tables()) == known


def test_tables_are_drawn_in_one_place() -> None:
    drawing = [file.name for file in (ROOT / "commands").glob("*.py") if "rich.table" in file.read_text()]
    assert drawing == []
