"""Temporal's own development server as a child process, so that one command is a whole installation."""
