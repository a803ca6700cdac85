"""A user's history, read and retold."""
