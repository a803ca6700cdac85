"""deposit, withdraw, trade: movements that a product service posts from a shell."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from commandline import CommandLine, an_empty_ledger, assert_refused

import starter
from ledger.database.engine import make_ledger

DEPOSIT = ("deposit", "ann", "SOL", "12", "--key", "deposit 1")


def test_a_deposit_a_withdrawal_and_a_trade_answer_their_entry_and_the_new_balances(alone: CommandLine) -> None:
    deposit = alone.json(*DEPOSIT, "--at", "2026-10-01T10:00:00Z")
    withdrawal = alone.json("withdraw", "ann", "SOL", "2", "--idempotency-key", "withdrawal 1")
    trade = alone.json("trade", "ann", "SOL", "4", "DOGE", "0.5", "--key", "trade 1")

    assert deposit == {
        "entry_id": 1,
        "kind": "deposit",
        "user": "ann",
        "changes": {"SOL": "12.00000000"},
        "effective_at": "2026-10-01T10:00:00Z",
        "recorded_at": deposit["recorded_at"],
        "occurred_at": None,
        "note": None,
        "operator": None,
        "reason": None,
        "tell": None,
        "reverses": None,
        "reversed_by": None,
        "recorded_already": False,
        "balances": {"SOL": "12.00000000"},
    }
    assert (withdrawal["changes"], withdrawal["balances"]) == ({"SOL": "-2.00000000"}, {"SOL": "10.00000000"})
    assert trade["changes"] == {"DOGE": "0.50000000", "SOL": "-4.00000000"}
    assert trade["balances"] == {"DOGE": "0.50000000", "SOL": "6.00000000"}
    assert alone.json("audit")["clean"] is True


def test_a_repeat_says_that_it_is_one_and_changes_nothing(alone: CommandLine) -> None:
    first = alone.json(*DEPOSIT)

    again = alone.json(*DEPOSIT)
    text = alone.run(*DEPOSIT)

    assert again == first | {"recorded_already": True}
    assert (text.code, text.err) == (0, "")
    assert "recorded already" in text.out
    assert f"entry {first['entry_id']}, deposit: +12.00000000 SOL for user ann" in text.out
    assert text.out.endswith("balance now: 12.00000000 SOL\n")
    assert alone.json("audit")["entries"] == 1


def test_a_movement_says_from_when_it_counts_where_that_is_not_when_it_occurred(alone: CommandLine) -> None:
    alone.json(*DEPOSIT, "--at", "2026-10-02T10:00:00+00:00")

    answer = alone.run("withdraw", "ann", "SOL", "1", "--key", "late", "--at", "2026-10-01 09:00:00")

    assert "counting from 2026-10-02 10:00:00 UTC" in answer.out
    assert "not from 2026-10-01 09:00:00 UTC, since nothing may count within a closed day" in answer.out


def test_simultaneous_commands_with_one_key_post_one_entry(alone: CommandLine) -> None:
    alone.json("deposit", "ann", "SOL", "1", "--key", "before")
    answers = alone.run_at_once(*[(*DEPOSIT, "--json")] * 4)

    assert [answer.code for answer in answers] == [0] * 4, answers
    assert sorted(answer.json["recorded_already"] for answer in answers) == [False, True, True, True]
    assert alone.json("audit")["entries"] == 2


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "more than there is": (("withdraw", "ann", "SOL", "12.1", "--key", "w"), 1, "SOL balance is 12.00000000"),
    "a trade of more than there is": (
        ("trade", "ann", "SOL", "13", "SUI", "1", "--key", "t"),
        1,
        "does not allow",
    ),
    "the key of another movement": (
        ("withdraw", "ann", "SOL", "1", "--key", "deposit 1"),
        1,
        "a deposit of 12.00000000 SOL for user ann, and is now asked as a withdrawal of -1.00000000 SOL",
    ),
    "the future": ((*DEPOSIT[:-1], "soon", "--at", "2999-01-01"), 1, "is in the future"),
    "more than an account holds": (
        ("deposit", "ann", "SOL", "9e10", "--key", "d"),
        1,
        "would pass the 90 billion",
    ),
    "no key": (DEPOSIT[:4], 2, "a movement needs a key: an id of your own"),
    "an empty key": ((*DEPOSIT[:-1], ""), 2, "a movement needs a key: an id of your own"),
    "an endless key": ((*DEPOSIT[:-1], "k" * 201), 2, "a key has 1 to 200 characters, this one has 201"),
    "a key with a line end": ((*DEPOSIT[:-1], "a\nb"), 2, "printable"),
    "an amount of nothing": (("withdraw", "ann", "SOL", "0", "--key", "w"), 2, "0 is not above zero"),
    "an amount below zero": (("withdraw", "ann", "SOL", "-1", "--key", "w"), 2, "-1 is not above zero"),
    "nine decimals": (("deposit", "ann", "SOL", "0.123456789", "--key", "d"), 2, "more than 8 decimals"),
    "more than 90 billion": (("deposit", "ann", "SOL", "90000000001", "--key", "d"), 2, "is more than 90 billion"),
    "no asset code": (("deposit", "ann", "S L", "1", "--key", "d"), 2, "1 to 32 printable characters"),
    "amount before asset": (("trade", "ann", "3", "SOL", "450", "USDT", "--key", "t"), 2, "'SOL' is not a number"),
    "an asset for itself": (("trade", "ann", "SOL", "1", "SOL", "2", "--key", "t"), 2, "not SOL for itself"),
    "no user id": (("deposit", "a/b", "SOL", "1", "--key", "d"), 2, "'a/b' is not a user id"),
    "no instant": ((*DEPOSIT, "--at", "noon"), 2, "'noon' is not an ISO 8601 instant"),
    "one word too many": ((*DEPOSIT[:4], "SUI", "--key", "d"), 2, "unexpected extra argument"),
}


@pytest.fixture(scope="module")
def deposited(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A shell whose ledger has ann's deposit. It is only for requests that are refused, since all such tests share
    it."""
    shell = an_empty_ledger(tmp_path_factory.mktemp("deposited"))
    shell.json(*DEPOSIT)
    return shell


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_one_sentence_and_changes_nothing(deposited: CommandLine, case: str) -> None:
    arguments, code, sentence = REFUSED[case]
    assert_refused(deposited.run(*arguments), code, sentence)
    assert deposited.json("ledger", "show", "ann")["count"] == 1


def test_a_movement_without_an_instant_counts_from_now(alone: CommandLine) -> None:
    before = datetime.now(UTC)
    answer = alone.json(*DEPOSIT)
    counts_from = datetime.fromisoformat(answer["effective_at"])
    assert before <= counts_from <= datetime.now(UTC)


async def test_a_product_service_posts_the_same_through_typed_functions(tmp_path: Path) -> None:
    await make_ledger(f"sqlite:///{tmp_path}/ledger.db")
    now = datetime(2026, 10, 1, 10, tzinfo=UTC)
    amount = starter.parse_amount("12.5")
    async with starter.open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        deposit = await starter.deposit(ledger, "ann", "SOL", amount, idempotency_key="d", now=now)
        again = await starter.deposit(ledger, "ann", "SOL", amount, idempotency_key="d", now=now)
        trade = await starter.trade(ledger, "ann", "SOL", amount, "SUI", 7, idempotency_key="t", now=now)
        with pytest.raises(starter.InsufficientBalance):
            await starter.withdraw(ledger, "ann", "SOL", 1, idempotency_key="w", now=now)
        with pytest.raises(starter.LedgerError, match="now asked as"):
            await starter.withdraw(ledger, "ann", "SUI", 1, idempotency_key="t", now=now)
    assert isinstance(deposit, starter.Recorded)
    assert (deposit.balances, deposit.recorded_already) == ({"SOL": amount}, False)
    assert (again.entry, again.recorded_already) == (deposit.entry, True)
    assert trade.balances == {"SOL": 0, "SUI": 7}


def test_an_instant_that_an_operator_may_type_again_is_shown_in_full(alone: CommandLine) -> None:
    posted = alone.run(*DEPOSIT, "--at", "2026-10-02T10:00:00.500001Z")
    shown = alone.run("ledger", "show", "ann")

    assert "counting from 2026-10-02 10:00:00.500001 UTC" in posted.out
    assert "2026-10-02 10:00:00.500001 UTC  deposit" in shown.out
