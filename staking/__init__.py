"""The rules of Soft Staking: pure functions and models. No I/O, no clock, no Temporal, no SQL."""
