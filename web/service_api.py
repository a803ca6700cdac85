"""The API for product services: /v1/accounts/{user}/soft-staking, with bearer tokens and problem details."""

from fastapi import FastAPI

from web.service import Service


def install(app: FastAPI, service: Service) -> None:
    """Adds the routes to an application."""
