"""A visitor of the pages without a browser: requests, answers, and forms as a page shows them."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import unescape
from html.parser import HTMLParser

import httpx
from fastapi import FastAPI
from staking_service import StakingService
from temporalio.client import Client
from world import World, at

from settings import Settings
from staking.days import day_of, end_of
from temporal.client import SoftStakingClient
from temporal.payloads import PYDANTIC
from web.app import create_app
from web.service import Service

SECRET = "a secret of the tests, long enough"
GATEWAY = "10.1.2.3"
EXCHANGE = "https://exchange.example"


class Clock:
    """The service's clock, which a test moves."""

    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def __call__(self) -> datetime:
        return self.instant

    def goes_on(self, span: timedelta) -> None:
        self.instant += span


async def in_the_morning(service: StakingService) -> Clock:
    """The service's clock at 10:00 UTC of a future day, so that no test crosses midnight by chance."""
    await service.skip_to(end_of(day_of(await service.now())) + timedelta(hours=10))
    return Clock(await service.now())


async def a_site(
    world: World,
    now: Clock | datetime,
    *,
    client: SoftStakingClient | None = None,
    is_development: bool = False,
    **settings: str,
) -> FastAPI:
    """The application on a world's ledger. Unless another is given, its Temporal client has no server."""
    chosen = {"session_secret": SECRET, "gateway_peers": GATEWAY} | settings
    service = Service(
        ledger=world.ledger,
        client=client or await _without_server(),
        now=now if isinstance(now, Clock) else Clock(now),
        settings=Settings.model_validate(chosen),
        is_development=is_development,
    )
    return create_app(service)


async def _without_server() -> SoftStakingClient:
    lazy = await Client.connect("127.0.0.1:1", lazy=True, data_converter=PYDANTIC)
    return SoftStakingClient(lazy, timeout=timedelta(seconds=0.1))


@dataclass(frozen=True)
class Page:
    """An answer, and its text as a person reads it."""

    response: httpx.Response

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def html(self) -> str:
        return self.response.text

    @property
    def leads_to(self) -> str | None:
        return self.response.headers.get("location")

    @property
    def text(self) -> str:
        """The text of the main part, without tags and with single blanks."""
        main = re.search(r"<main.*?</main>", self.html, flags=re.S)
        assert main, self.html
        return _text(main[0])

    @property
    def title(self) -> str:
        (heading,) = re.findall(r"<h1>(.*?)</h1>", self.html, flags=re.S)
        return _text(heading)

    def section(self, heading: str) -> str:
        """The text of the section with that heading."""
        for section in re.findall(r"<section.*?</section>", self.html, flags=re.S):
            if re.search(rf"<h2[^>]*>{re.escape(heading)}</h2>", section):
                return _text(section)
        raise AssertionError(f"no section {heading!r} in {self.text}")

    def lines(self) -> list[str]:
        """The lines of the reward history, each with the text about how it was computed."""
        return [_text(line) for line in re.findall(r"<li>\s*<details>(.*?)</details>", self.html, flags=re.S)]

    def form(self, action: str) -> dict[str, str]:
        """The hidden fields of the form with that action, including its token."""
        forms = _Forms()
        forms.feed(self.html)
        assert action in forms.hidden, f"no form for {action} in {list(forms.hidden)}"
        return forms.hidden[action]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, dict[str, str]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._action = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag == "form":
            self._action = values["action"] or ""
            self.hidden.setdefault(self._action, {})
        elif tag == "input" and values.get("type") == "hidden":
            self.hidden[self._action][values["name"] or ""] = values["value"] or ""


def tags_of(html: str) -> list[tuple[str, dict[str, str | None]]]:
    """Every tag that a page opens, with its attributes."""
    forms = _Forms()
    forms.feed(html)
    return forms.tags


class Visitor:
    """A visitor with a cookie jar and an address."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.name: cookie.value or "" for cookie in self.client.cookies.jar}

    async def get(self, path: str, **headers: str) -> Page:
        return Page(await self.client.get(path, headers=headers))

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Page:
        return Page(await self.client.post(path, data=fields, headers=headers))

    async def press(self, page: str, action: str, **fields: str) -> Page:
        """Loads a page, fills in its form and sends it. In a field's name ``__`` stands for a dot."""
        hidden = (await self.get(page)).form(action)
        return await self.post(action, hidden | {name.replace("__", "."): text for name, text in fields.items()})


@asynccontextmanager
async def a_visitor(
    site: FastAPI, user: str | None = None, *, region: str | None = "FR", peer: str = GATEWAY, base: str = EXCHANGE
) -> AsyncGenerator[Visitor]:
    """A visitor whom the gateway names, or an unnamed one."""
    headers: dict[str, str] = {}
    if user is not None:
        headers["X-User-Id"] = user
        if region is not None:
            headers["X-User-Region"] = region
    # A failure within the application must become an answer, and not an exception in the test.
    transport = httpx.ASGITransport(app=site, client=(peer, 50_000), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as client:
        yield Visitor(client)


async def page_of(world: World, user: str, path: str, now: str = "2026-10-05 10:00") -> Page:
    """A page as a user whom the gateway names sees it."""
    async with a_visitor(await a_site(world, at(now)), user) as visitor:
        return await visitor.get(path)


def _text(html: str) -> str:
    html = re.sub(r"<svg.*?</svg>", " ", html, flags=re.S).replace("<wbr>", "")
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split()).replace(" ,", ",").replace(" .", ".")
