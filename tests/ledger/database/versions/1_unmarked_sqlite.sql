-- The tables of version 1 as programs made them on SQLite before ledgers were marked with their version.
CREATE TABLE users (
    user_id TEXT NOT NULL,
    closed_through BIGINT NOT NULL,
    latest_effective_at BIGINT NOT NULL,
    PRIMARY KEY (user_id),
    CONSTRAINT closed_through_is_integer CHECK (closed_through IS NULL OR typeof(closed_through) = 'integer')
);
CREATE TRIGGER users_no_update BEFORE UPDATE ON users WHEN (NEW.closed_through < OLD.closed_through) BEGIN SELECT RAISE(ABORT, 'a closed day is never opened again'); END;
CREATE TABLE program_versions (
    version INTEGER NOT NULL,
    effective_from INTEGER NOT NULL,
    content TEXT NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (version)
);
CREATE INDEX program_in_force ON program_versions (effective_from, version);
CREATE TRIGGER program_versions_no_update BEFORE UPDATE ON program_versions BEGIN SELECT RAISE(ABORT, 'program_versions are written once'); END;
CREATE TRIGGER program_versions_no_delete BEFORE DELETE ON program_versions BEGIN SELECT RAISE(ABORT, 'program_versions are never deleted'); END;
CREATE TABLE accounts (
    account_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    user_id TEXT,
    asset TEXT NOT NULL,
    shard INTEGER NOT NULL,
    balance BIGINT,
    PRIMARY KEY (account_id),
    CONSTRAINT kind CHECK (kind IN ('spot', 'pool', 'outside')),
    CONSTRAINT owner CHECK ((kind = 'spot') = (user_id IS NOT NULL)),
    CONSTRAINT stored_balance CHECK ((kind = 'outside') = (balance IS NULL)),
    CONSTRAINT balance_range CHECK (balance BETWEEN 0 AND 9000000000000000000),
    CONSTRAINT balance_is_integer CHECK (balance IS NULL OR typeof(balance) = 'integer'),
    FOREIGN KEY(user_id) REFERENCES users (user_id)
);
CREATE UNIQUE INDEX one_spot_account ON accounts (user_id, asset) WHERE kind = 'spot';
CREATE UNIQUE INDEX one_system_account ON accounts (kind, asset, shard) WHERE kind != 'spot';
CREATE TABLE entries (
    entry_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    user_id TEXT,
    idempotency_key TEXT,
    effective_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    occurred_at BIGINT,
    note TEXT,
    PRIMARY KEY (entry_id),
    FOREIGN KEY(user_id) REFERENCES users (user_id),
    UNIQUE (idempotency_key)
);
CREATE INDEX entries_of_a_user ON entries (user_id, effective_at);
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are written once'); END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;
CREATE TABLE enrolments (
    enrolment_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    region TEXT NOT NULL,
    channel TEXT NOT NULL,
    app_version TEXT,
    activated_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    first_accrual_day INTEGER NOT NULL,
    operator TEXT,
    operator_reason TEXT,
    ended_at BIGINT,
    end_reason TEXT,
    last_accrual_day INTEGER,
    owed_days_at_end INTEGER,
    PRIMARY KEY (enrolment_id),
    CONSTRAINT end_is_whole CHECK ((ended_at IS NULL) = (last_accrual_day IS NULL) AND (ended_at IS NULL) = (end_reason IS NULL) AND (ended_at IS NULL) = (owed_days_at_end IS NULL)),
    FOREIGN KEY(user_id) REFERENCES users (user_id)
);
CREATE UNIQUE INDEX one_open_enrolment ON enrolments (user_id) WHERE ended_at IS NULL;
CREATE INDEX enrolments_of_a_user ON enrolments (user_id, activated_at);
CREATE TABLE postings (
    entry_id INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    effective_at BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (entry_id, account_id),
    CONSTRAINT amount_moves CHECK (amount <> 0),
    CONSTRAINT amount_is_integer CHECK (amount IS NULL OR typeof(amount) = 'integer'),
    CONSTRAINT effective_at_is_integer CHECK (effective_at IS NULL OR typeof(effective_at) = 'integer'),
    FOREIGN KEY(entry_id) REFERENCES entries (entry_id),
    FOREIGN KEY(account_id) REFERENCES accounts (account_id)
)
 WITHOUT ROWID;
CREATE INDEX postings_of_an_account ON postings (account_id, effective_at);
CREATE TRIGGER postings_no_update BEFORE UPDATE ON postings BEGIN SELECT RAISE(ABORT, 'postings are written once'); END;
CREATE TRIGGER postings_no_delete BEFORE DELETE ON postings BEGIN SELECT RAISE(ABORT, 'postings are never deleted'); END;
CREATE TABLE acceptances (
    enrolment_id TEXT NOT NULL,
    document TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (enrolment_id, document),
    FOREIGN KEY(enrolment_id) REFERENCES enrolments (enrolment_id)
)
 WITHOUT ROWID;
CREATE TRIGGER acceptances_no_update BEFORE UPDATE ON acceptances BEGIN SELECT RAISE(ABORT, 'acceptances are written once'); END;
CREATE TRIGGER acceptances_no_delete BEFORE DELETE ON acceptances BEGIN SELECT RAISE(ABORT, 'acceptances are never deleted'); END;
CREATE TABLE days (
    user_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    enrolment_id TEXT NOT NULL,
    program_version INTEGER NOT NULL,
    accrues BOOLEAN NOT NULL,
    closed_at BIGINT NOT NULL,
    credited_at BIGINT,
    late BOOLEAN,
    entry_id INTEGER,
    PRIMARY KEY (user_id, day),
    CONSTRAINT credit_is_whole CHECK ((credited_at IS NULL) = (late IS NULL)),
    CONSTRAINT only_accrual_days_are_credited CHECK (accrues OR credited_at IS NULL),
    FOREIGN KEY(user_id) REFERENCES users (user_id),
    FOREIGN KEY(enrolment_id) REFERENCES enrolments (enrolment_id),
    FOREIGN KEY(program_version) REFERENCES program_versions (version),
    UNIQUE (entry_id),
    FOREIGN KEY(entry_id) REFERENCES entries (entry_id)
)
 WITHOUT ROWID;
CREATE TRIGGER days_no_update BEFORE UPDATE ON days WHEN (OLD.credited_at IS NOT NULL) BEGIN SELECT RAISE(ABORT, 'a credited day never changes'); END;
CREATE TRIGGER days_no_delete BEFORE DELETE ON days BEGIN SELECT RAISE(ABORT, 'days are never deleted'); END;
CREATE TABLE snapshots (
    user_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    asset TEXT NOT NULL,
    opening BIGINT NOT NULL,
    closing BIGINT NOT NULL,
    average BIGINT NOT NULL,
    PRIMARY KEY (user_id, day, asset),
    FOREIGN KEY(user_id, day) REFERENCES days (user_id, day),
    CONSTRAINT holdings_are_not_negative CHECK (opening >= 0 AND closing >= 0 AND average >= 0),
    CONSTRAINT opening_is_integer CHECK (opening IS NULL OR typeof(opening) = 'integer'),
    CONSTRAINT closing_is_integer CHECK (closing IS NULL OR typeof(closing) = 'integer'),
    CONSTRAINT average_is_integer CHECK (average IS NULL OR typeof(average) = 'integer')
)
 WITHOUT ROWID;
CREATE TRIGGER snapshots_no_update BEFORE UPDATE ON snapshots BEGIN SELECT RAISE(ABORT, 'snapshots are written once'); END;
CREATE TRIGGER snapshots_no_delete BEFORE DELETE ON snapshots BEGIN SELECT RAISE(ABORT, 'snapshots are never deleted'); END;
CREATE TABLE rewards (
    user_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    asset TEXT NOT NULL,
    minimum TEXT NOT NULL,
    cap TEXT NOT NULL,
    apr TEXT NOT NULL,
    reward BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (user_id, day, asset),
    FOREIGN KEY(user_id, day, asset) REFERENCES snapshots (user_id, day, asset),
    CONSTRAINT zero_has_a_reason CHECK ((outcome IN ('earned', 'capped')) = (reward > 0) AND reward >= 0),
    CONSTRAINT reward_is_integer CHECK (reward IS NULL OR typeof(reward) = 'integer')
)
 WITHOUT ROWID;
CREATE TRIGGER rewards_no_update BEFORE UPDATE ON rewards BEGIN SELECT RAISE(ABORT, 'rewards are written once'); END;
CREATE TRIGGER rewards_no_delete BEFORE DELETE ON rewards BEGIN SELECT RAISE(ABORT, 'rewards are never deleted'); END;
