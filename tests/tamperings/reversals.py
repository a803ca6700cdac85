"""Reversals of entries."""

from tamperings.acting import DAY_5, DAY_US, NEW, Tampering, reversal_of, reward_of

REVERSALS = {
    "a reversal of a part": Tampering(
        reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US, change="-amount / 2"),
        [
            (
                "corrections: entry {new} reverses entry {bob_reward_5}, but in account {bob_doge} it "
                "moves -0.01369863 for 0.02739726"
            ),
            (
                "corrections: entry {new} reverses entry {bob_reward_5}, but in account {bob_sol} it "
                "moves -0.00011507 for 0.00023015"
            ),
            (
                "corrections: entry {new} reverses entry {bob_reward_5}, but in account {pool_doge} it "
                "moves 0.01369863 for -0.02739726"
            ),
            (
                "corrections: entry {new} reverses entry {bob_reward_5}, but in account {pool_sol} it "
                "moves 0.00011507 for -0.00023015"
            ),
        ],
    ),
    "a reversal before what it reverses": Tampering(
        reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US - 1),
        [
            (
                "I4: user bob's DOGE on 2026-10-05 closed at 1000.02739726 with an average of "
                "1000.02739726; from 1000.00000000 its postings give 1000.00000000 and 1000.02739725"
            ),
            (
                "I4: user bob's SOL on 2026-10-05 closed at 10.50067397 with an average of 10.50067397; "
                "from 10.50044383 its postings give 10.50044382 and 10.50067396"
            ),
            (
                "corrections: entry {new} of user bob at 2026-10-05 23:59:59.999999+00:00 reverses entry "
                "{bob_reward_5} of user bob at 2026-10-06 00:00:00+00:00"
            ),
        ],
    ),
    "a reversal for another user": Tampering(
        [
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
            f"UPDATE entries SET user_id = 'ann' WHERE entry_id = {NEW}",
        ],
        [
            (
                "I1: entry {new} is of user ann at 2026-10-06 00:00:00+00:00, but its posting to account "
                "{bob_doge} of user bob at 2026-10-06 00:00:00+00:00"
            ),
            (
                "I1: entry {new} is of user ann at 2026-10-06 00:00:00+00:00, but its posting to account "
                "{bob_sol} of user bob at 2026-10-06 00:00:00+00:00"
            ),
            (
                "corrections: entry {new} of user ann at 2026-10-06 00:00:00+00:00 reverses entry "
                "{bob_reward_5} of user bob at 2026-10-06 00:00:00+00:00"
            ),
            (
                "acts: olga did reverse/{new}, user ann, reason: paid in error, text: none; its act says olga, "
                "user bob, reason: paid in error, text: none"
            ),
        ],
    ),
    "a reversal without a reason": Tampering(
        [
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
            f"UPDATE entries SET reason = '' WHERE entry_id = {NEW}",
        ],
        [
            ("corrections: entry {new}, a reversal, reverses entry {bob_reward_5}; operator: olga, reason: "),
            (
                "acts: olga did reverse/{new}, user bob, reason: , text: none; its act says olga, user bob, "
                "reason: paid in error, text: none"
            ),
        ],
    ),
    "a reversal of nothing": Tampering(
        [
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
            f"UPDATE entries SET reverses = NULL WHERE entry_id = {NEW}",
        ],
        [
            ("corrections: entry {new}, a reversal, reverses entry none; operator: olga, reason: paid in error"),
        ],
    ),
    "a second reversal": Tampering(
        [
            "DROP INDEX one_reversal",
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
        ],
        [
            "I3: entry {bob_reward_5} is reversed 2 times",
        ],
    ),
}
