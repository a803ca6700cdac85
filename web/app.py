"""The HTTP application, put together from its parts."""

from fastapi import FastAPI

from web import exchange_api, pages, service_api
from web.service import Service


def create_app(service: Service) -> FastAPI:
    """The application on an open ledger and a connected client."""
    app = FastAPI(title="Soft Staking", docs_url=None, redoc_url=None)
    service_api.install(app, service)
    exchange_api.install(app, service)
    pages.install(app, service)
    return app
