"""History exports: files read, lines planned, recorded once, and taken back."""
