"""Closed days: watermarks, snapshots and averages (I4)."""

from tamperings.acting import ANN_SOL_2, BOB_SOL_5, DAY_2, DAY_5, DAY_US, Tampering, entry

DAYS = {
    "a snapshot twice": Tampering(
        [],
        [
            "I3: user bob has 2 snapshots of SOL on 2026-10-05",
        ],
        doubles=("snapshots", BOB_SOL_5),
    ),
    "a day twice": Tampering(
        [],
        [
            "I3: user bob has 2 records of 2026-10-05",
        ],
        doubles=("days", f"user_id = 'bob' AND day = {DAY_5}"),
    ),
    "a watermark lowered": Tampering(
        [f"UPDATE users SET closed_through = {DAY_2 * DAY_US} WHERE user_id = 'ann'"],
        [
            ("I4: user ann is closed through 2026-10-02 00:00:00+00:00, but the last closed day is 2026-10-05"),
        ],
    ),
    "a watermark raised": Tampering(
        ["UPDATE users SET closed_through = closed_through + 1 WHERE user_id = 'ann'"],
        [
            (
                "I4: user ann is closed through 2026-10-06 00:00:00.000001+00:00, but the last closed day"
                " is 2026-10-05"
            ),
        ],
    ),
    "a day closed before its end": Tampering(
        [f"UPDATE days SET closed_at = {DAY_5 * DAY_US} WHERE user_id = 'bob' AND day = {DAY_5}"],
        [
            "I4: 2026-10-05 of user bob was closed at 2026-10-05 00:00:00+00:00",
        ],
    ),
    "a movement in a closed day": Tampering(
        entry(DAY_2 * DAY_US + 1, {("ann", "SOL"): 5, ("outside", "SOL"): -5}),
        [
            (
                "I4: user ann's SOL on 2026-10-02 closed at 9.00000000 with an average of 9.75000000; "
                "from 12.00000000 its postings give 9.00000005 and 9.75000004"
            ),
        ],
    ),
    "an average": Tampering(
        [f"UPDATE snapshots SET average = average + 1 WHERE {ANN_SOL_2}"],
        [
            (
                "I4: user ann's SOL on 2026-10-02 closed at 9.00000000 with an average of 9.75000001; "
                "from 12.00000000 its postings give 9.00000000 and 9.75000000"
            ),
        ],
    ),
    "the average of a day without movements": Tampering(
        [f"UPDATE snapshots SET average = average + 1 WHERE {BOB_SOL_5}"],
        [
            (
                "I4: user bob's SOL on 2026-10-05 closed at 10.50067397 with an average of 10.50067398; "
                "from 10.50044383 its postings give 10.50067397 and 10.50067397"
            ),
        ],
    ),
    "a closing": Tampering(
        [f"UPDATE snapshots SET closing = closing + 1 WHERE {ANN_SOL_2}"],
        [
            (
                "I4: user ann's SOL on 2026-10-02 closed at 9.00000001 with an average of 9.75000000; "
                "from 12.00000000 its postings give 9.00000000 and 9.75000000"
            ),
            "I5: user ann opens 2026-10-03 with 9.00000000 SOL; the holding before it was 9.00000001",
        ],
    ),
    "an opening": Tampering(
        [f"UPDATE snapshots SET opening = opening + 1 WHERE {BOB_SOL_5}"],
        [
            (
                "I4: user bob's SOL on 2026-10-05 closed at 10.50067397 with an average of 10.50067397; "
                "from 10.50044384 its postings give 10.50067398 and 10.50067398"
            ),
            "I5: user bob opens 2026-10-05 with 10.50044384 SOL; the holding before it was 10.50044383",
        ],
    ),
    "another asset in a closed day": Tampering(
        [
            "INSERT INTO accounts (kind, user_id, asset, shard, balance) VALUES ('spot', 'ann', 'ADA', 0, 0)",
            *entry(DAY_2 * DAY_US + 1, {("ann", "ADA"): 5, ("outside", "ADA"): -5}),
        ],
        [
            "I4: user ann's ADA moved on 2026-10-02, which was closed without it",
            ("I5: user ann holds 0.00000005 ADA when 2026-10-04 opens, but the day has no snapshot of it"),
        ],
    ),
    "a snapshot of an asset outside the program": Tampering(
        [f"INSERT INTO snapshots VALUES ('bob', {DAY_5}, 'SHIB', 100000000000, 100000000000, 100000000000)"],
        [
            (
                "I4: user bob has a snapshot of SHIB on 2026-10-05, which is no asset of that day's "
                "program (version 2)"
            ),
            "complete: user bob has no reward row for 2026-10-05 in SHIB",
        ],
    ),
    "a snapshot of a day that is not closed": Tampering(
        [
            "INSERT INTO snapshots SELECT user_id, day + 1, asset, closing, closing + 23015, closing + 23015 "
            f"FROM snapshots WHERE {BOB_SOL_5}"
        ],
        [
            (
                "I4: user bob has a snapshot of SOL on 2026-10-06, which is no asset of that day's "
                "program (version none)"
            ),
        ],
    ),
    "a lost snapshot": Tampering(
        [f"DELETE FROM snapshots WHERE {BOB_SOL_5}"],
        [
            "I4: user bob's SOL moved on 2026-10-05, which was closed without it",
            "I5: user bob closed 2026-10-04 with 10.50044383 SOL, but the next day opens without",
            "I6: user bob has a reward of 0.00023015 SOL for 2026-10-05, but no snapshot",
        ],
    ),
    "a lost first snapshot": Tampering(
        ["DELETE FROM snapshots WHERE asset = 'DOGE' AND user_id = 'bob'"],
        [
            "I4: user bob's DOGE moved on 2026-10-05, which was closed without it",
            ("I5: user bob holds 1000.00000000 DOGE when 2026-10-04 opens, but the day has no snapshot of it"),
            "I6: user bob has a reward of 0.02739726 DOGE for 2026-10-04, but no snapshot",
            "I6: user bob has a reward of 0.02739726 DOGE for 2026-10-05, but no snapshot",
        ],
    ),
}
