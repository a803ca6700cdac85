"""Entries, postings and balances (I1, I2)."""

from tamperings.acting import DAY_2, DAY_US, FIRST, FIRST_OF_ANN, Tampering, account, entry

ENTRIES = {
    "a posting's amount": Tampering(
        [f"UPDATE postings SET amount = amount + 1 WHERE {FIRST_OF_ANN}"],
        [
            (
                "I1: account {ann_sol} (spot SOL of user ann) holds 10.50044383, but its postings sum to "
                "10.50044384"
            ),
            "I1: entry {first} has 0.00000001 too much SOL",
            (
                "I4: user ann's SOL on 2026-10-01 closed at 12.00000000 with an average of 8.00000000; "
                "from 0.00000000 its postings give 12.00000001 and 8.00000000"
            ),
        ],
    ),
    "an entry without postings": Tampering(
        ["INSERT INTO entries (kind, effective_at, recorded_at) VALUES ('movement', 0, 0)"],
        [
            "I1: entry {new}, a movement of user none, has no postings",
        ],
    ),
    "a posting's instant": Tampering(
        [f"UPDATE postings SET effective_at = effective_at + 1 WHERE {FIRST_OF_ANN}"],
        [
            (
                "I1: entry {first} is of user ann at 2026-10-01 08:00:00+00:00, but its posting to "
                "account {ann_sol} of user ann at 2026-10-01 08:00:00.000001+00:00"
            ),
            (
                "I4: user ann's SOL on 2026-10-01 closed at 12.00000000 with an average of 8.00000000; "
                "from 0.00000000 its postings give 12.00000000 and 7.99999999"
            ),
        ],
    ),
    "an entry's user": Tampering(
        [f"UPDATE entries SET user_id = 'bob' WHERE entry_id = {FIRST}"],
        [
            (
                "I1: entry {first} is of user bob at 2026-10-01 08:00:00+00:00, but its posting to "
                "account {ann_sol} of user ann at 2026-10-01 08:00:00+00:00"
            ),
        ],
    ),
    "a lost entry": Tampering(
        [f"DELETE FROM entries WHERE entry_id = {FIRST}"],
        [
            (
                "I1: entry {first} is of user none at none, but its posting to account {ann_sol} of user "
                "ann at 2026-10-01 08:00:00+00:00"
            ),
            (
                "I1: entry {first} is of user none at none, but its posting to account {outside_sol} of "
                "user none at 2026-10-01 08:00:00+00:00"
            ),
        ],
    ),
    "a balance": Tampering(
        [f"UPDATE accounts SET balance = balance + 1 WHERE account_id = {account('ann', 'SOL')}"],
        [
            (
                "I1: account {ann_sol} (spot SOL of user ann) holds 10.50044384, but its postings sum to "
                "10.50044383"
            ),
        ],
    ),
    "a pool's balance": Tampering(
        [f"UPDATE accounts SET balance = balance + 1 WHERE account_id = {account('pool', 'SOL')}"],
        [
            (
                "I1: account {pool_sol} (pool SOL of user none) holds 999999.99865206, but its postings "
                "sum to 999999.99865205"
            ),
        ],
    ),
    "an instant below zero": Tampering(
        [
            *entry(
                DAY_2 * DAY_US - 17 * 3_600_000_000,
                {("ann", "SOL"): -100_000_000, ("outside", "SOL"): 100_000_000},
            ),
            *entry(
                DAY_2 * DAY_US - 16 * 3_600_000_000 + 1,
                {("ann", "SOL"): 100_000_000, ("outside", "SOL"): -100_000_000},
            ),
        ],
        [
            "I2: user ann holds -1.00000000 SOL at 2026-10-01 07:00:00+00:00",
            (
                "I4: user ann's SOL on 2026-10-01 closed at 12.00000000 with an average of 8.00000000; "
                "from 0.00000000 its postings give 12.00000000 and 7.95833333"
            ),
        ],
    ),
    "a pool below zero for a while": Tampering(
        [
            *entry(0, {("pool", "SOL"): -1_000_001 * 10**8, ("outside", "SOL"): 1_000_001 * 10**8}),
            *entry(0, {("pool", "SOL"): 1_000_001 * 10**8, ("outside", "SOL"): -1_000_001 * 10**8}),
        ],
        [
            "I2: the SOL pool holds -1.00134795 after entry {new_but_one}",
        ],
    ),
    "an entry twice": Tampering(
        [],
        [
            "I3: there are 2 entries under the key {first_key}",
        ],
        doubles=("entries", f"entry_id = {FIRST}"),
    ),
    "an account twice": Tampering(
        [],
        [
            "I1: entry {shib_deposit} has 1000.00000000 too much SHIB",
            "I3: there are 2 spot accounts in SHIB of user ann",
        ],
        doubles=("accounts", "user_id = 'ann' AND asset = 'SHIB'"),
    ),
}
