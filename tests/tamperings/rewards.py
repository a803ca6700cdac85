"""Rewards, what they were computed from, and what paid them."""

from tamperings.acting import (
    ANN_SOL_2,
    DAY_2,
    DAY_3,
    DAY_5,
    DAY_US,
    Tampering,
    account,
    entry,
    reward_of,
    telling,
)

REWARDS = {
    "a reward twice": Tampering(
        [],
        [
            "I3: user ann has 2 rewards for 2026-10-02 in SOL",
            "I6: for 2026-10-02 the SOL pool paid 0.00042738 and the rewards sum to 0.00064107",
        ],
        doubles=("rewards", ANN_SOL_2),
    ),
    "a reward": Tampering(
        [f"UPDATE rewards SET reward = reward + 1 WHERE {ANN_SOL_2}"],
        [
            "I6: for 2026-10-02 the SOL pool paid 0.00042738 and the rewards sum to 0.00042739",
            "I6: user ann was to get 0.00021370 SOL for 2026-10-02 and got 0.00021369",
            (
                "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02 is 0.00021370 (earned); an "
                "average of 9.75000000 gives 0.00021369 (earned) by formula 1"
            ),
        ],
    ),
    "something paid beside a day's rewards": Tampering(
        [
            f"INSERT INTO postings SELECT {reward_of('ann', DAY_2)}, account_id, {DAY_3 * DAY_US}, "
            "CASE kind WHEN 'spot' THEN 7 ELSE -7 END FROM accounts "
            "WHERE asset = 'SHIB' AND (user_id = 'ann' OR kind = 'outside')",
            f"UPDATE accounts SET balance = balance + 7 WHERE account_id = {account('ann', 'SHIB')}",
        ],
        [
            "I6: user ann got 0.00000007 SHIB for 2026-10-02 (entry {ann_reward_2}) without a reward",
        ],
    ),
    "an entry of rewards that no day names": Tampering(
        entry(DAY_5 * DAY_US + DAY_US, {("bob", "SOL"): 1, ("pool", "SOL"): -1}, kind="reward", user="bob"),
        [
            (
                "I6: entry {new} pays rewards to user bob at 2026-10-06 00:00:00+00:00; credited with it:"
                " day none of user none"
            ),
            "I6: for 2026-10-05 the SOL pool paid 0.00023016 and the rewards sum to 0.00023015",
        ],
    ),
    "a day that names another user's entry": Tampering(
        [
            f"UPDATE days SET entry_id = NULL WHERE user_id = 'ann' AND day = {DAY_2}",
            f"UPDATE days SET entry_id = {reward_of('ann', DAY_2)} WHERE user_id = 'bob' AND day = {DAY_2}",
            f"UPDATE days SET entry_id = {reward_of('bob', DAY_2)} WHERE user_id = 'ann' AND day = {DAY_2}",
        ],
        [
            "I6: 2026-10-02 of user ann names entry {bob_reward_2}, a reward of user bob",
            "I6: 2026-10-02 of user bob names entry {ann_reward_2}, a reward of user ann",
            (
                "I6: entry {ann_reward_2} pays rewards to user ann at 2026-10-03 00:00:00+00:00; credited"
                " with it: day 2026-10-02 of user bob"
            ),
            (
                "I6: entry {bob_reward_2} pays rewards to user bob at 2026-10-03 00:00:00+00:00; credited"
                " with it: day 2026-10-02 of user ann"
            ),
            "I6: user ann was to get 0.00021369 SOL for 2026-10-02 and got 0.00000000",
            "I6: user ann was to get 0.00547945 SUI for 2026-10-02 and got 0.00000000",
            "I6: user bob was to get 0.00021369 SOL for 2026-10-02 and got 0.00000000",
            "I6: user bob was to get 0.00547945 SUI for 2026-10-02 and got 0.00000000",
            *(
                telling(
                    user,
                    "2026-10-02",
                    "2026-10-03",
                    f"{user}_reward_2",
                    f"2026-10-03 00:01:00+00:00, entry {{{other}_reward_2}}, late: False",
                )
                for user, other in (("ann", "bob"), ("bob", "ann"))
            ),
        ],
    ),
    "a reward that another paid for": Tampering(
        [
            f"UPDATE postings SET account_id = {account('outside', 'SOL')} "
            f"WHERE entry_id = {reward_of('bob', DAY_5)} AND account_id = {account('pool', 'SOL')}",
            f"UPDATE accounts SET balance = balance + 23015 WHERE account_id = {account('pool', 'SOL')}",
        ],
        [
            "I6: for 2026-10-05 the SOL pool paid 0.00000000 and the rewards sum to 0.00023015",
        ],
    ),
    "rewards of a day that is not credited": Tampering(
        [
            "INSERT INTO rewards SELECT user_id, day, asset, '100', '50000', '0.01', 0, 'paused', 1 "
            f"FROM snapshots WHERE user_id = 'ann' AND day = {DAY_5} AND asset = 'SUI'"
        ],
        [
            "I6: user ann has a reward of 0.00000000 SUI for 2026-10-05, which is not credited",
        ],
    ),
    "a reward's terms": Tampering(
        [f"UPDATE rewards SET apr = '0.009' WHERE {ANN_SOL_2}"],
        [
            (
                "I7: user ann's SOL reward for 2026-10-02 has minimum 1, cap 10000 and APR 0.009; version"
                " 1 says 1, 10000 and 0.008"
            ),
        ],
    ),
    "a formula that there is not": Tampering(
        [f"UPDATE rewards SET formula = 7 WHERE {ANN_SOL_2}"],
        [
            (
                "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02, 0.00021369, names formula 7, which this "
                "program does not know"
            ),
        ],
    ),
    "an outcome": Tampering(
        [f"UPDATE rewards SET outcome = 'capped' WHERE {ANN_SOL_2}"],
        [
            (
                "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02 is 0.00021369 (capped); an "
                "average of 9.75000000 gives 0.00021369 (earned) by formula 1"
            ),
        ],
    ),
    "a credit that hides that it was late": Tampering(
        [f"UPDATE days SET credited_at = credited_at + 86400000000 WHERE user_id = 'bob' AND day = {DAY_5}"],
        [
            ("rule 11: the credit of 2026-10-05 to user bob at 2026-10-07 00:01:00+00:00 says late: False"),
            telling(
                "bob",
                "2026-10-05",
                "2026-10-06",
                "bob_reward_5",
                "2026-10-07 00:01:00+00:00, entry {bob_reward_5}, late: False",
            ),
        ],
    ),
}
