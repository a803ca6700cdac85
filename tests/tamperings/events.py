"""What systems outside are told."""

from tamperings.acting import DAY_3, DAY_5, DAY_US, Tampering, told

EVENTS = {
    "a credit that is told no more, and one that is told twice": Tampering(
        [
            f"DELETE FROM events WHERE event_number = {told('bob', DAY_3)}",
            "INSERT INTO events (kind, user_id, day, recorded_at, entry_id, late) "
            "SELECT kind, user_id, day, recorded_at, entry_id, late FROM events "
            f"WHERE event_number = {told('bob', DAY_5)}",
        ],
        [
            "events: 2026-10-03 was credited to user bob at 2026-10-04 00:01:00+00:00, and was told 0 times",
            "events: 2026-10-05 was credited to user bob at 2026-10-06 00:01:00+00:00, and was told 2 times",
        ],
    ),
    "a credit that was never made": Tampering(
        [
            "INSERT INTO events (event_number, kind, user_id, day, recorded_at, late) "
            f"VALUES (9999, 'reward.credited', 'ann', {DAY_5}, {(DAY_5 + 1) * DAY_US}, FALSE)"
        ],
        [
            (
                "events: event 9999 tells of 2026-10-05 credited to user ann at 2026-10-06 00:00:00+00:00, entry "
                "none, late: False; recorded is none, entry none, late: none"
            ),
        ],
    ),
}
