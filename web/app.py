"""The HTTP application, put together from its parts."""

from fastapi import FastAPI

from web import exchange_api, pages, probes, service_api
from web.health import Health
from web.service import Service


def create_app(service: Service, process: Health | None = None) -> FastAPI:
    """The application on an open ledger and a connected client. Given its process's health, it tells that too."""
    app = FastAPI(title="Soft Staking", docs_url=None, redoc_url=None)
    if process:
        probes.install(app, process)
    service_api.install(app, service)
    exchange_api.install(app, service)
    pages.install(app, service)
    return app
