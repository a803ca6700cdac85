"""What the ledger stands on: the engine of both databases, the tables, their versions, rows, batches and waits."""
