-- What happened in a ledger of version 1: ann was paid for a day and goes on, bob changed his mind.
INSERT INTO users (user_id, closed_through, latest_effective_at) VALUES
    ('ann', 1790985600000000, 1790964000000000),
    ('bob', 0, 1790834400000000);
INSERT INTO accounts (account_id, kind, user_id, asset, shard, balance) VALUES
    (1, 'outside', NULL, 'SOL', 0, NULL),
    (2, 'pool', NULL, 'SOL', 0, 99999977809),
    (3, 'outside', NULL, 'SUI', 0, NULL),
    (4, 'pool', NULL, 'SUI', 0, 100000000000),
    (5, 'outside', NULL, 'SHIB', 0, NULL),
    (6, 'spot', 'ann', 'SHIB', 0, 100000000000),
    (7, 'spot', 'ann', 'SOL', 0, 1050022191),
    (8, 'spot', 'bob', 'SUI', 0, 25000000000);
INSERT INTO program_versions (version, effective_from, content, applied_at) VALUES
    (1, 18262, '{"effective_from":"2020-01-01","minimum_app_version":"3.1.0","restricted_regions":["US","PR","GU","VI","AS","MP","UM","CU","IR","KP","SY","UA-43","UA-40","UA-14","UA-09"],"documents":{"terms_of_use":"2026-01-01","soft_staking_terms":"2026-01-01","risk_warning":"2026-01-01"},"assets":{"BNB":{"minimum":"0.5","cap":"1000","apr":"0.0015","reference_price":"650","paused":false},"SOL":{"minimum":"1","cap":"10000","apr":"0.008","reference_price":"150","paused":false},"ADA":{"minimum":"150","cap":"800000","apr":"0.005","reference_price":"0.60","paused":false},"SUI":{"minimum":"100","cap":"50000","apr":"0.01","reference_price":"3.20","paused":false},"TON":{"minimum":"100","cap":"250000","apr":"0.006","reference_price":"3.00","paused":false},"NEAR":{"minimum":"100","cap":"50000","apr":"0.006","reference_price":"2.50","paused":false},"POL":{"minimum":"500","cap":"500000","apr":"0.005","reference_price":"0.22","paused":false},"ALGO":{"minimum":"1000","cap":"1000000","apr":"0.005","reference_price":"0.20","paused":false},"S":{"minimum":"200","cap":"500000","apr":"0.005","reference_price":"0.30","paused":false},"AXS":{"minimum":"100","cap":"50000","apr":"0.005","reference_price":"2.40","paused":false}}}', 946684800000000);
INSERT INTO enrolments (enrolment_id, user_id, region, channel, app_version, activated_at, recorded_at, first_accrual_day, operator, operator_reason, ended_at, end_reason, last_accrual_day, owed_days_at_end) VALUES
    ('enrolment of ann', 'ann', 'FR', 'web', NULL, 1790848800000000, 1790848800000000, 20728, NULL, NULL, NULL, NULL, NULL, NULL),
    ('enrolment of bob', 'bob', 'FR', 'web', NULL, 1790838000000000, 1790838000000000, 20728, NULL, NULL, 1790841600000000, 'asked to stop', 20726, 0);
INSERT INTO acceptances (enrolment_id, document, version) VALUES
    ('enrolment of ann', 'risk_warning', '2026-01-01'),
    ('enrolment of ann', 'soft_staking_terms', '2026-01-01'),
    ('enrolment of ann', 'terms_of_use', '2026-01-01'),
    ('enrolment of bob', 'risk_warning', '2026-01-01'),
    ('enrolment of bob', 'soft_staking_terms', '2026-01-01'),
    ('enrolment of bob', 'terms_of_use', '2026-01-01');
INSERT INTO entries (entry_id, kind, user_id, idempotency_key, effective_at, recorded_at, occurred_at, note) VALUES
    (1, 'pool_funding', NULL, NULL, 946684800000000, 946684800000000, NULL, NULL),
    (2, 'pool_funding', NULL, NULL, 946684800000000, 946684800000000, NULL, NULL),
    (3, 'movement', 'ann', '0fd1919a311c231b9db0dc235480138b', 1790841600000000, 946684800000000, NULL, 'Deposit'),
    (4, 'movement', 'ann', 'd5653c59f581ad0036f0587a0ad1c4db', 1790845200000000, 946684800000000, NULL, 'Deposit'),
    (5, 'withdrawal', 'ann', 'movement 1', 1790920800000000, 946684800000000, NULL, NULL),
    (6, 'deposit', 'ann', 'movement 2', 1790964000000000, 946684800000000, NULL, NULL),
    (7, 'reward', 'ann', NULL, 1790985600000000, 1790985660000000, NULL, NULL),
    (8, 'deposit', 'bob', 'movement 3', 1790834400000000, 946684800000000, NULL, NULL);
INSERT INTO postings (entry_id, account_id, effective_at, amount) VALUES
    (1, 1, 946684800000000, -100000000000),
    (1, 2, 946684800000000, 100000000000),
    (2, 3, 946684800000000, -100000000000),
    (2, 4, 946684800000000, 100000000000),
    (3, 1, 1790841600000000, -1200000000),
    (3, 7, 1790841600000000, 1200000000),
    (4, 5, 1790845200000000, -100000000000),
    (4, 6, 1790845200000000, 100000000000),
    (5, 1, 1790920800000000, 300000000),
    (5, 7, 1790920800000000, -300000000),
    (6, 1, 1790964000000000, -150000000),
    (6, 7, 1790964000000000, 150000000),
    (7, 2, 1790985600000000, -22191),
    (7, 7, 1790985600000000, 22191),
    (8, 3, 1790834400000000, -25000000000),
    (8, 8, 1790834400000000, 25000000000);
INSERT INTO days (user_id, day, enrolment_id, program_version, accrues, closed_at, credited_at, late, entry_id) VALUES
    ('ann', 20727, 'enrolment of ann', 1, FALSE, 1790899200000000, NULL, NULL, NULL),
    ('ann', 20728, 'enrolment of ann', 1, TRUE, 1790985600000000, 1790985660000000, FALSE, 7);
INSERT INTO snapshots (user_id, day, asset, opening, closing, average) VALUES
    ('ann', 20727, 'SOL', 0, 1200000000, 800000000),
    ('ann', 20728, 'SOL', 1200000000, 1050000000, 1012500000);
INSERT INTO rewards (user_id, day, asset, minimum, cap, apr, reward, outcome) VALUES
    ('ann', 20728, 'SOL', '1', '10000', '0.008', 22191, 'earned');
