"""Measurements, each a script of its own: what the service costs on the machine they run on."""
