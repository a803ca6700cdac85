"""The ledger: double-entry journal, closed days and rewards, with every invariant guarded where it belongs."""
