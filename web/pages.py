"""The account holder's pages: spot assets, activation, and the Soft Staking page."""

from fastapi import FastAPI

from web.service import Service


def install(app: FastAPI, service: Service) -> None:
    """Adds the routes to an application."""
