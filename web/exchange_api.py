"""The endpoints that the exchange's existing clients speak: signed GET requests under /sapi/v1/soft-staking."""

from fastapi import FastAPI

from web.service import Service


def install(app: FastAPI, service: Service) -> None:
    """Adds the routes to an application."""
