"""How a transaction begins: execution options of its connection, for both databases."""

READ_ONLY = "soft_staking_read_only"
TAKES_LONG = "soft_staking_takes_long"
