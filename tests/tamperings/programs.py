"""Program versions, and on which days they apply."""

from tamperings.acting import DAY_3, Tampering

PROGRAMS = {
    "another program version on a day": Tampering(
        [f"UPDATE days SET program_version = 2 WHERE user_id = 'ann' AND day = {DAY_3}"],
        [
            ("I5: user ann holds 1000.00000000 DOGE when 2026-10-03 opens, but the day has no snapshot of it"),
            "I7: 2026-10-03 of user ann was closed under version 2; version 1 was in force",
            (
                "rules 3, 4 and 12: user ann's SUI reward for 2026-10-03 is 0.00547960 (earned); an "
                "average of 200.00547945 gives 0.00000000 (paused) by formula 1"
            ),
        ],
    ),
    "a program version applied too late": Tampering(
        ["UPDATE program_versions SET applied_at = effective_from * 86400000000 WHERE version = 2"],
        [
            "I7: version 2 starts on 2026-10-04 but was applied at 2026-10-04 00:00:00+00:00",
        ],
    ),
    "a program's content": Tampering(
        ["UPDATE program_versions SET content = replace(content, '2026-10-04', '2026-10-05') WHERE version = 2"],
        [
            (
                "I7: version 2, in force from 2026-10-04, cannot be relied on: its content is effective "
                "from 2026-10-05"
            ),
        ],
    ),
    "a program's terms": Tampering(
        ["UPDATE program_versions SET content = replace(content, '\"0.008\"', '\"0.009\"') WHERE version = 2"],
        [
            (
                "I7: user bob's SOL reward for 2026-10-04 has minimum 1, cap 10000 and APR 0.008; version"
                " 2 says 1, 10000 and 0.009"
            ),
            (
                "I7: user bob's SOL reward for 2026-10-05 has minimum 1, cap 10000 and APR 0.008; version"
                " 2 says 1, 10000 and 0.009"
            ),
            (
                "rules 3, 4 and 12: user bob's SOL reward for 2026-10-04 is 0.00023014 (earned); an "
                "average of 10.50044383 gives 0.00025891 (earned) by formula 1"
            ),
            (
                "rules 3, 4 and 12: user bob's SOL reward for 2026-10-05 is 0.00023015 (earned); an "
                "average of 10.50067397 gives 0.00025892 (earned) by formula 1"
            ),
        ],
    ),
}
