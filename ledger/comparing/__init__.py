"""Compares the balances of another system with those of the ledger."""
