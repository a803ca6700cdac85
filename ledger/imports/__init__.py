"""History exports: how files are read, lines planned, movements recorded once, and imports undone."""
