"""Temporal's remote codec: the web UI and the `temporal` command send payloads and get them back readable.

It only decodes (decision 0008), and sends nothing to Temporal: plain text goes only to the one who asked.
"""

import json
from collections.abc import Callable, Collection
from datetime import datetime
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import PayloadCodec

from ledger.service_tokens import Scope
from settings import LOOPBACK, Settings
from temporal.encryption import PayloadEncryption, PayloadUnreadable
from web.access.bearer import Anyone, Bearers
from web.body_limits import route_with_bodies_up_to
from web.headers import StrictHeaders
from web.problems import install_problems

_BODY_BYTES_MAX = 6 * 1024 * 1024
"""A message of Temporal's has at most 4 MiB, which base64 makes a third more."""


def create_codec_app(codec: PayloadCodec, callers: Bearers | Anyone, origins: Collection[str]) -> FastAPI:
    """The application. ``origins`` are the origins of the web UIs whose pages may ask, such as
    http://127.0.0.1:8233.

    Raises NotAnAddress for a setting that cannot be read.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    install_problems(app)
    app.include_router(_routes(codec, callers, frozenset(origins)))
    app.add_middleware(StrictHeaders)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["POST"],
        allow_headers=["Authorization", "X-Namespace"],
        # A web UI can be configured to send cookies, by which a gateway in front recognises who asks.
        allow_credentials=True,
    )
    return app


def _routes(codec: PayloadCodec, callers: Bearers | Anyone, origins: frozenset[str]) -> APIRouter:
    async def asked(request: Request) -> Payloads:
        # A page of another origin cannot read an answer anyway, unless a name server lets that page's own name
        # point here.
        if (origin := request.headers.get("origin")) is not None and origin not in origins:
            raise HTTPException(
                HTTPStatus.FORBIDDEN, "pages of this origin may not ask; name the origins that may with --origin"
            )
        try:
            return Parse(await request.body(), Payloads(), ignore_unknown_fields=True)
        except (ParseError, UnicodeDecodeError):
            raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is not payloads in JSON") from None

    async def decode(request: Request) -> Response:
        return _answer([await _readable(codec, payload) for payload in (await asked(request)).payloads])

    async def encode(request: Request) -> Response:
        # The `temporal` command sends the arguments of a query to be encoded, even if there are none.
        if (await asked(request)).payloads:
            raise HTTPException(HTTPStatus.FORBIDDEN, "nothing is encrypted here; starter.py does that by itself")
        return _answer([])

    router = APIRouter(
        route_class=route_with_bodies_up_to(_BODY_BYTES_MAX), dependencies=[callers.may(Scope.DECODE)]
    )
    # Keys belong to an installation and not to a namespace, so a namespace in a header or the path changes
    # nothing.
    for path in ("", "/{namespace}"):
        router.add_api_route(f"{path}/decode", decode, methods=["POST"])
        router.add_api_route(f"{path}/encode", encode, methods=["POST"])
    return router


def _answer(payloads: list[Payload]) -> Response:
    return Response(MessageToJson(Payloads(payloads=payloads), indent=None), media_type="application/json")


async def _readable(codec: PayloadCodec, payload: Payload) -> Payload:
    """The payload as it was, or a sentence in its place: an error would hide the whole history from its reader."""
    try:
        (decoded,) = await codec.decode([payload])
    except PayloadUnreadable as error:
        return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(str(error)).encode())
    return decoded


def local_codec(settings: Settings, ui_port: int, now: Callable[[], datetime]) -> FastAPI:
    """The codec of an installation on this machine, for its own web UI."""
    origins = [f"http://{host}:{ui_port}" for host in (LOOPBACK, "localhost")]
    return create_codec_app(PayloadEncryption(settings.payload_keys_by_id), Anyone(now, settings), origins)
