-- What operators did in a ledger of version 4: ann was held for an hour, bob was ended and his loop resumed.
INSERT INTO acts (act_number, act_id, user_id, kind, operator, reason, recorded_at) VALUES
    (1, 'first act', 'ann', 'hold', 'ada', 'ticket 1', 1790992800000000),
    (3, 'third act', 'ann', 'release', 'ben', 'ticket 1 is closed', 1790996400000000),
    (4, 'deactivate/enrolment of bob', 'bob', 'deactivate', 'ada', 'asked to stop', 1790841600000000),
    (7, 'seventh act', 'bob', 'resume', 'ada', 'the database was lost', 1790996400000001);
