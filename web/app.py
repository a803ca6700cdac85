"""The HTTP application, put together from its parts."""

from fastapi import FastAPI

from web import probes
from web.exchange_api import public
from web.exchange_api import routes as exchange_api
from web.health import Health
from web.pages import routes as pages
from web.product_api import routes as product_api
from web.service import Service

_DESCRIPTION = """Daily rewards on what users hold in their spot accounts.

**Product services** call `/v1` with a bearer token: activation, standing and rewards of every account. Amounts are
decimal strings with 8 places, instants and days are UTC, errors are problem details (RFC 9457).

**Existing clients** of the exchange call `/sapi` and `/api` with an API key and a signature, for one account.
Errors are a code and a message.

Every request is safe to repeat. A query parameter that an endpoint does not have is refused."""
_SERVERS = [
    {"url": "/", "description": "The address from which this document came."},
    {"url": "http://127.0.0.1:8080", "description": "An installation on this machine, as `make run` serves it."},
]


def create_app(service: Service, process: Health | None = None) -> FastAPI:
    """The application on an open ledger and a connected client. With ``health`` it also serves the health of
    its process."""
    app = FastAPI(
        title="Soft Staking",
        summary="Rewards every day on what is simply held",
        description=_DESCRIPTION,
        servers=_SERVERS,
        docs_url=None,
        redoc_url=None,
    )
    if process:
        probes.install(app, process)
    product_api.install(app, service)
    exchange_api.install(app, service, process)
    public.install(app, service)
    pages.install(app, service)
    return app
