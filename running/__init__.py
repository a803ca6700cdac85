"""Worker processes: the worker, what a process takes on, and how processes start, are watched and stop."""
