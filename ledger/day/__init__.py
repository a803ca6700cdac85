"""One user's day in the ledger: what is recorded of it, what is decided, and the rows that say so.

Whoever closes, computes or credits a day calls ledger/day/together.py.
"""
