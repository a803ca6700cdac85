"""What FastAPI alone answers: ``python -m benchmarks.bare_endpoint PORT BYTES …``.

Each of ``/BYTES`` answers a body of that size, which is made once, on the server and the event loop that serve the
pages and the APIs.
"""

import asyncio
import sys

from fastapi import FastAPI
from starlette.responses import Response

from running.event_loop import new_event_loop
from settings import LOOPBACK
from web.server import serving


async def _serve(port: int, sizes: list[int]) -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for size in sizes:
        _add_endpoint(app, size)
    async with serving(app, host=LOOPBACK, port=port) as address:
        print(address, file=sys.stderr, flush=True)
        await asyncio.Event().wait()


def _add_endpoint(app: FastAPI, size: int) -> None:
    body = b"x" * size

    async def answer() -> Response:
        return Response(body, media_type="application/json")

    app.add_api_route(f"/{size}", answer)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1]), [int(size) for size in sys.argv[2:]]))
