"""Measurements: each is a script that measures what the service costs on the machine on which it runs."""
