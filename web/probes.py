"""A process's health over HTTP, unauthenticated, for whoever starts, watches and replaces it."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from web.health import Health


def install(app: FastAPI, health: Health) -> None:
    """Adds ``/livez`` and ``/readyz`` to an application."""

    async def livez(_: Request) -> JSONResponse:
        return _answer(health.not_live())

    async def readyz(_: Request) -> JSONResponse:
        return _answer(await health.not_ready())

    app.add_route("/livez", livez, include_in_schema=False)
    app.add_route("/readyz", readyz, include_in_schema=False)


def health_app(health: Health) -> FastAPI:
    """An application that answers these two paths and nothing else."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install(app, health)
    return app


def _answer(problems: list[str]) -> JSONResponse:
    return JSONResponse(
        {"ok": not problems, "problems": problems},
        status_code=503 if problems else 200,
        headers={"Cache-Control": "no-store"},
    )
