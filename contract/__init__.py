"""What crosses Temporal: requests, answers, what a run remembers, steps by name. Old histories are read by it."""
