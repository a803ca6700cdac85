"""The commands of starter.py, a module for each group; thin, over the ledger and the client."""
