"""Enrolments, and which days they own."""

from tamperings.acting import ANN_SOL_2, DAY_2, DAY_3, DAY_5, NOT_CREDITED, Tampering, telling

ENROLMENTS = {
    "an open enrolment twice": Tampering(
        [],
        [
            "I3: user bob has 2 open enrolments",
        ],
        doubles=("enrolments", "user_id = 'bob'"),
    ),
    "enrolments that overlap": Tampering(
        ["UPDATE enrolments SET ended_at = ended_at + 7200000000 WHERE enrolment_id = 'enrolment of ann'"],
        [
            (
                "I3: user ann's enrolment again (2026-10-04 13:00:00+00:00 to none) overlaps enrolment of"
                " ann (2026-10-01 10:00:00+00:00 to 2026-10-04 14:00:00+00:00)"
            ),
        ],
    ),
    "a first accrual day": Tampering(
        ["UPDATE enrolments SET first_accrual_day = first_accrual_day + 1 WHERE enrolment_id = 'again'"],
        [
            ("complete: 2026-10-05 of user ann says that it accrues: True; the first accrual day is 2026-10-06"),
            (
                "complete: user ann's enrolment again (2026-10-04 13:00:00+00:00 to none) accrues from "
                "2026-10-06 to none"
            ),
        ],
    ),
    "a last accrual day moved on": Tampering(
        ["UPDATE enrolments SET last_accrual_day = last_accrual_day + 1 WHERE enrolment_id = 'enrolment of ann'"],
        [
            (
                "complete: user ann's enrolment enrolment of ann (2026-10-01 10:00:00+00:00 to 2026-10-04"
                " 12:00:00+00:00) accrues from 2026-10-02 to 2026-10-04"
            ),
            (
                "complete: user ann's enrolment enrolment of ann is not credited its last day, "
                "2026-10-04, but a later day is closed"
            ),
        ],
    ),
    "a last accrual day moved back": Tampering(
        ["UPDATE enrolments SET last_accrual_day = last_accrual_day - 1 WHERE enrolment_id = 'enrolment of ann'"],
        [
            "complete: 2026-10-03 of user ann was credited after the last accrual day, 2026-10-02",
        ],
    ),
    "a day closed for another enrolment": Tampering(
        [f"UPDATE days SET enrolment_id = 'enrolment of ann' WHERE user_id = 'bob' AND day = {DAY_5}"],
        [
            (
                "complete: 2026-10-05 of user bob was closed for enrolment enrolment of ann, which is of "
                "user ann from 2026-10-01 10:00:00+00:00"
            ),
            "complete: 2026-10-05 of user bob was credited after the last accrual day, 2026-10-03",
            (
                "complete: user bob has no record of 2026-10-04 for enrolment enrolment of ann, but one "
                "of the next day"
            ),
        ],
    ),
    "a day that should accrue": Tampering(
        [
            f"UPDATE days SET accrues = FALSE WHERE user_id = 'ann' AND day = {DAY_5}",
        ],
        [
            ("complete: 2026-10-05 of user ann says that it accrues: False; the first accrual day is 2026-10-05"),
        ],
    ),
    "a lost day": Tampering(
        [f"DELETE FROM days WHERE user_id = 'bob' AND day = {DAY_3}"],
        [
            (
                "I4: user bob has a snapshot of BNB on 2026-10-03, which is no asset of that day's "
                "program (version none)"
            ),
            (
                "I4: user bob has a snapshot of SOL on 2026-10-03, which is no asset of that day's "
                "program (version none)"
            ),
            (
                "I4: user bob has a snapshot of SUI on 2026-10-03, which is no asset of that day's "
                "program (version none)"
            ),
            (
                "I6: entry {bob_reward_3} pays rewards to user bob at 2026-10-04 00:00:00+00:00; credited"
                " with it: day none of user none"
            ),
            "I6: user bob has a reward of 0.00000000 BNB for 2026-10-03, which is not credited",
            "I6: user bob has a reward of 0.00023014 SOL for 2026-10-03, which is not credited",
            "I6: user bob has a reward of 0.00547960 SUI for 2026-10-03, which is not credited",
            "I6: user bob was to get 0.00023014 SOL for 2026-10-03 and got 0.00000000",
            "I6: user bob was to get 0.00547960 SUI for 2026-10-03 and got 0.00000000",
            (
                "complete: user bob has no record of 2026-10-03 for enrolment enrolment of bob, but one "
                "of the next day"
            ),
            telling("bob", "2026-10-03", "2026-10-04", "bob_reward_3"),
        ],
    ),
    "a day's lost credit": Tampering(
        [f"UPDATE days SET {NOT_CREDITED} WHERE user_id = 'ann' AND day = {DAY_2}"],
        [
            (
                "I6: entry {ann_reward_2} pays rewards to user ann at 2026-10-03 00:00:00+00:00; credited"
                " with it: day none of user none"
            ),
            "I6: user ann has a reward of 0.00021369 SOL for 2026-10-02, which is not credited",
            "I6: user ann has a reward of 0.00547945 SUI for 2026-10-02, which is not credited",
            "I6: user ann was to get 0.00021369 SOL for 2026-10-02 and got 0.00000000",
            "I6: user ann was to get 0.00547945 SUI for 2026-10-02 and got 0.00000000",
            "complete: user ann is still owed 2026-10-02, but a later day is closed",
            telling("ann", "2026-10-02", "2026-10-03", "ann_reward_2"),
        ],
    ),
    "an ended enrolment's lost last day": Tampering(
        [
            f"DELETE FROM rewards WHERE user_id = 'ann' AND day = {DAY_3}",
            f"UPDATE days SET {NOT_CREDITED} WHERE user_id = 'ann' AND day = {DAY_3}",
        ],
        [
            (
                "I6: entry {ann_reward_3} pays rewards to user ann at 2026-10-04 00:00:00+00:00; credited"
                " with it: day none of user none"
            ),
            "I6: for 2026-10-03 the SOL pool paid 0.00046028 and the rewards sum to 0.00023014",
            "I6: for 2026-10-03 the SUI pool paid 0.01095920 and the rewards sum to 0.00547960",
            "complete: user ann is still owed 2026-10-03, but a later day is closed",
            (
                "complete: user ann's enrolment enrolment of ann is not credited its last day, "
                "2026-10-03, but a later day is closed"
            ),
            telling("ann", "2026-10-03", "2026-10-04", "ann_reward_3"),
        ],
    ),
    "a lost reward row": Tampering(
        [f"DELETE FROM rewards WHERE {ANN_SOL_2}"],
        [
            "I6: for 2026-10-02 the SOL pool paid 0.00042738 and the rewards sum to 0.00021369",
            "I6: user ann got 0.00021369 SOL for 2026-10-02 (entry {ann_reward_2}) without a reward",
            "complete: user ann has no reward row for 2026-10-02 in SOL",
        ],
    ),
}
