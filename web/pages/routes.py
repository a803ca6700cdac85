"""The account holder's pages: spot assets, activation, and the Soft Staking page."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from jinja2 import TemplateNotFound
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from contract.answers import Receipt, Refusal
from contract.errors import RequestRefused, ServiceError
from ledger.errors import LedgerUnavailable
from ledger.reading.reward_entries import reward_entries
from ledger.reading.standing import Standing, standing_of
from ledger.reading.statement_text import ENTRY_COLUMNS, csv_header, csv_text, entries_csv_text
from ledger.reading.statements import statement_in_parts
from staking.days import day_of
from staking.models import RefusalReason, check_user_id
from staking.rewards import Outcome
from web.access.identity import Person, may_choose_person, person_named_by_gateway, region_code
from web.access.sessions import Session, Sessions, signing_secret
from web.headers import StrictHeaders
from web.pages import view, wording
from web.pages.history_filter import unknown_filters, wanted_lines
from web.pages.rendering import templates, time_zone, time_zones
from web.pages.samples import SAMPLES, stage_text
from web.service import Service

_HERE = Path(__file__).parent
_FOR_PROGRAMS = ("/v1", "/api", "/sapi", "/openapi.json")
_FORM_LENGTH_MAX = 16_384
_FORM_FIELDS_MAX = 64
_ZONE_COOKIE = "time_zone"
_ZONE_LIFETIME_S = 365 * 24 * 3600
_DOCUMENT_FIELD = "document."


def install(app: FastAPI, service: Service) -> None:
    """Adds the pages to an application, for every path that is not one of the APIs."""
    app.router.routes.append(_Pages("/", StrictHeaders(_Site(service).app), name="pages"))


class _Pages(Mount):
    """A mount that leaves the paths of the APIs alone, so that programs get the answers that they can read."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path: str = scope.get("path", "")
        if any(path == root or path.startswith(f"{root}/") for root in _FOR_PROGRAMS):
            return Match.NONE, {}
        return super().matches(scope)


class NotIdentified(Exception):
    """No trusted gateway says who asks."""


class FormRefused(Exception):
    """A form did not come from a page of this session."""


@dataclass(frozen=True)
class Visit:
    """A person, their session, and how they read times."""

    person: Person | None
    session: Session
    is_new: bool
    zone: ZoneInfo | None
    may_choose_person: bool

    @property
    def user_id(self) -> str:
        """Raises NotIdentified for a visitor who has not chosen anyone yet."""
        if self.person is None:
            raise NotIdentified
        return self.person.user_id


class _Site:
    """The pages of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._templates = templates()
        self.app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        self.app.mount("/static", _Static(directory=_HERE / "static"), name="static")
        for path, page in {
            "/": self.spot,
            "/soft-staking": self.soft_staking,
            "/soft-staking/activate": self.activation,
            "/soft-staking/started": self.started,
            "/soft-staking/stop": self.stopping,
            "/soft-staking/rewards.csv": self.rewards_as_csv,
            "/soft-staking/reward-entries.csv": self.reward_entries_as_csv,
            "/documents/{name}": self.document,
            "/time-zone": self.time_zone,
            "/people": self.people,
        }.items():
            self.app.add_api_route(path, page, methods=["GET"], response_model=None)
        for path, action in {
            "/soft-staking/activate": self.activate,
            "/soft-staking/stop": self.stop,
            "/time-zone": self.set_time_zone,
            "/people": self.choose_person,
            "/people/leave": self.leave,
        }.items():
            self.app.add_api_route(path, action, methods=["POST"], response_model=None)
        for error, handler in {
            NotIdentified: self.not_identified,
            FormRefused: self.form_refused,
            LedgerUnavailable: self.unavailable,
            HTTPException: self.no_such_page,
            Exception: self.failed,
        }.items():
            self.app.add_exception_handler(error, handler)

    # Pages.

    async def spot(self, request: Request) -> Response:
        visit = self._visit(request)
        account = await view.spot(self._service.ledger, visit.user_id, self._service.now())
        return self._page_of_rewards(visit, "spot.html", account.standing, account=account)

    async def soft_staking(self, request: Request) -> Response:
        visit = self._visit(request)
        overview = await view.overview(self._service.ledger, visit.user_id, self._service.now())
        if overview.standing.receipt is None:
            return _see("/soft-staking/activate")
        wanted = wanted_lines(request.query_params)
        history = await view.history(
            self._service.ledger, visit.user_id, wanted, overview.standing.last_credited_day
        )
        return self._page_of_rewards(
            visit,
            "soft_staking.html",
            overview.standing,
            overview=overview,
            history=history,
            wanted=wanted,
            outcomes=list(Outcome),
        )

    async def activation(self, request: Request) -> Response:
        visit = self._visit(request)
        standing = await standing_of(self._service.ledger, visit.user_id, now=self._service.now())
        if standing.enrolled:
            return _see("/soft-staking")
        return await self._activation_page(visit)

    async def activate(self, request: Request) -> Response:
        visit, form = await self._form(request)
        user_id, region = visit.user_id, visit.person and visit.person.region
        program = await view.program_in_force(self._service.ledger, day_of(self._service.now()))
        if program is None:
            return await self._activation_page(visit, status=409)
        accepted = {
            name: str(form[f"{_DOCUMENT_FIELD}{name}"])
            for name in program.documents
            if f"{_DOCUMENT_FIELD}{name}" in form
        }
        if region is None:
            unknown = RefusalReason(
                code="region_unknown", sentence="We do not know in which country or region you live."
            )
            return await self._activation_page(
                visit, refusal=Refusal(reasons=[unknown]), ticked=accepted, status=409
            )
        try:
            answer = await self._service.client.activate(user_id, region=region, channel="web", documents=accepted)
        except RequestRefused:
            return self._refused()
        except ServiceError:
            return await self._activation_page(visit, ticked=accepted, unanswered=True, status=503)
        if isinstance(answer, Receipt):
            return _see("/soft-staking/started")
        return await self._activation_page(visit, refusal=answer, ticked=accepted, status=422)

    async def started(self, request: Request) -> Response:
        visit = self._visit(request)
        standing = await standing_of(self._service.ledger, visit.user_id, now=self._service.now())
        if not view.is_getting_started(standing, self._service.now()):
            return _see("/soft-staking")
        return self._page_of_rewards(visit, "started.html", standing)

    async def stopping(self, request: Request) -> Response:
        visit = self._visit(request)
        return await self._stop_page(visit)

    async def stop(self, request: Request) -> Response:
        visit, _ = await self._form(request)
        standing = await standing_of(self._service.ledger, visit.user_id, now=self._service.now())
        if standing.enrolled:
            try:
                await self._service.client.deactivate(visit.user_id)
            except RequestRefused:
                return self._refused()
            except ServiceError:
                return await self._stop_page(visit, unanswered=True, status=503)
        return _see("/soft-staking")

    async def rewards_as_csv(self, request: Request) -> Response:
        visit = self._visit(request)
        wanted = wanted_lines(request.query_params)
        # A page can say what it left out. A file cannot, and would just be wrong.
        if problems := [*unknown_filters(request.query_params), *wanted.problems]:
            return self._notice(422, "We cannot make this file", " ".join(problems))

        async def lines(user_id: str) -> AsyncGenerator[str]:
            yield csv_header()
            parts = statement_in_parts(self._service.ledger, user_id, first=wanted.first, last=wanted.last)
            async for part in parts:
                yield csv_text(filter(wanted.includes, part))

        answer = StreamingResponse(lines(visit.user_id), media_type="text/csv")
        return _csv_file(answer, "soft-staking-rewards.csv")

    async def reward_entries_as_csv(self, request: Request) -> Response:
        visit = self._visit(request)
        wanted = wanted_lines(request.query_params)
        names = ("from", "to")
        if problems := [*unknown_filters(request.query_params, names), *wanted.problems]:
            return self._notice(422, "We cannot make this file", " ".join(problems))
        async with self._service.ledger.read() as connection:
            entries = await reward_entries(connection, visit.user_id, first=wanted.first, last=wanted.last)
        return _csv_file(
            Response(csv_header(ENTRY_COLUMNS) + entries_csv_text(entries), media_type="text/csv"),
            "soft-staking-reward-entries.csv",
        )

    async def document(self, request: Request, name: str) -> Response:
        visit = self._visit(request)
        program = await view.program_in_force(self._service.ledger, day_of(self._service.now()))
        if program is None or name not in program.documents:
            raise HTTPException(404)
        version = program.documents[name]
        text = self._document_text(name, version)
        return self._page(visit, "document.html", name=name, version=version, text=text)

    async def time_zone(self, request: Request) -> Response:
        visit = self._visit(request)
        return self._page(visit, "time_zone.html", zones=time_zones(), now=self._service.now())

    async def set_time_zone(self, request: Request) -> Response:
        _, form = await self._form(request)
        chosen = str(form.get("zone", ""))
        response = _see("/time-zone")
        if chosen in time_zones():
            response.set_cookie(
                _ZONE_COOKIE,
                chosen,
                max_age=_ZONE_LIFETIME_S,
                samesite="lax",
                secure=not self._service.is_development,
            )
        return response

    # The demonstration's choice of a person.

    async def people(self, request: Request) -> Response:
        visit = self._visit(request)
        if not visit.may_choose_person:
            raise HTTPException(404)
        return await self._people_page(visit)

    async def choose_person(self, request: Request) -> Response:
        visit, form = await self._form(request)
        if not visit.may_choose_person:
            raise HTTPException(404)
        region = region_code(str(form.get("region", "FR")))
        try:
            user_id = check_user_id(str(form.get("user", "")).strip())
        except ValueError as error:
            return await self._people_page(visit, problem=str(error), status=422)
        response = _see("/")
        self._keep_session(response, self._sessions.begin(user_id, region))
        return response

    async def leave(self, request: Request) -> Response:
        visit, _ = await self._form(request)
        if not visit.may_choose_person:
            raise HTTPException(404)
        response = _see("/people")
        response.delete_cookie(self._cookie, httponly=True, samesite="lax")
        return response

    # Everything that is not a page.

    async def not_identified(self, request: Request, error: Exception) -> Response:
        if may_choose_person(request, self._service):
            return _see("/people")
        return self._notice(
            401,
            "We do not know who you are",
            "Please open Soft Staking from your account at the exchange, where you are signed in.",
        )

    async def form_refused(self, request: Request, error: Exception) -> Response:
        return self._notice(
            403,
            "This page was open for too long",
            "Nothing was changed. Go back, load the page again and repeat what you did.",
        )

    async def unavailable(self, request: Request, error: Exception) -> Response:
        return self._notice(
            503,
            "We cannot look this up just now",
            "Your balances and rewards are safe, and Soft Staking goes on. Please try again in a minute.",
        )

    async def no_such_page(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        sentences = {
            404: ("There is no such page", "Check the address, or go to your spot assets."),
            405: ("There is no such page", "Check the address, or go to your spot assets."),
            413: (
                "That is too much",
                "Nothing was changed. Go back, load the page again and repeat what you did.",
            ),
        }
        title, sentence = sentences.get(status, ("That did not work", "Nothing was changed. Please try again."))
        return self._notice(status, title, sentence)

    async def failed(self, request: Request, error: Exception) -> Response:
        return self._notice(
            500,
            "Something went wrong on our side",
            "Your balances and rewards are safe. Please try again in a minute.",
        )

    # Who asks, and what may be believed of a form.

    @cached_property
    def _sessions(self) -> Sessions:
        return Sessions(signing_secret(self._service.settings), self._service.now)

    @property
    def _cookie(self) -> str:
        # The prefix makes browsers refuse one that another host, or a connection without TLS, has set.
        return "soft-staking-session" if self._service.is_development else "__Host-soft-staking-session"

    def _visit(self, request: Request) -> Visit:
        """Who asks, with the session in their browser, or a new one. Raises NotIdentified."""
        may_choose = may_choose_person(request, self._service)
        kept = self._sessions.open(request.cookies.get(self._cookie))
        person = person_named_by_gateway(request, self._service.settings)
        if person is None:
            if not may_choose:
                raise NotIdentified
            if kept is not None and kept.user_id is not None:
                person = Person(kept.user_id, kept.region)
        user_id = person and person.user_id
        session = kept if kept is not None and kept.user_id == user_id else self._sessions.begin(user_id)
        return Visit(
            person=person,
            session=session,
            is_new=session is not kept,
            zone=time_zone(request.cookies.get(_ZONE_COOKIE)),
            may_choose_person=may_choose,
        )

    async def _form(self, request: Request) -> tuple[Visit, FormData]:
        """A form that a page of this very session sent. Raises FormRefused for any other."""
        visit = self._visit(request)
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > _FORM_LENGTH_MAX:
            raise HTTPException(413)
        form = await request.form(max_fields=_FORM_FIELDS_MAX, max_files=0)
        token = form.get("token")
        if not isinstance(token, str) or not self._sessions.is_form_token(visit.session, token):
            raise FormRefused
        return visit, form

    def _keep_session(self, response: Response, session: Session) -> None:
        """The cookie lasts until the browser is closed. The session also expires by our clock, whatever the
        browser's clock says."""
        response.set_cookie(
            self._cookie,
            self._sessions.seal(session),
            httponly=True,
            samesite="lax",
            secure=not self._service.is_development,
        )

    # Putting a page together.

    async def _activation_page(
        self,
        visit: Visit,
        *,
        refusal: Refusal | None = None,
        ticked: Mapping[str, str] = {},
        unanswered: bool = False,
        status: int = 200,
    ) -> Response:
        now = self._service.now()
        program = await view.program_in_force(self._service.ledger, day_of(now))
        if program is None:
            return self._page(visit, "not_offered.html", status=status)
        standing = await standing_of(self._service.ledger, visit.user_id, now=now)
        reasons = [
            (wording.reason_sentence(reason), wording.what_to_do(reason, standing.holdings, program))
            for reason in (refusal.reasons if refusal else [])
        ]
        return self._page_of_rewards(
            visit,
            "activate.html",
            standing,
            program=program,
            refused=_refused_documents(refusal),
            reasons=reasons,
            ticked=ticked,
            unanswered=unanswered,
            status=status,
        )

    async def _stop_page(self, visit: Visit, *, unanswered: bool = False, status: int = 200) -> Response:
        now = self._service.now()
        standing = await standing_of(self._service.ledger, visit.user_id, now=now)
        if not standing.is_on:
            return _see("/soft-staking")
        stopping = view.stopping(standing, now)
        return self._page_of_rewards(
            visit, "stop.html", standing, stopping=stopping, unanswered=unanswered, status=status
        )

    async def _people_page(self, visit: Visit, *, problem: str | None = None, status: int = 200) -> Response:
        now = self._service.now()
        offered = [
            (sample, stage_text(await standing_of(self._service.ledger, sample.user_id, now=now), now))
            for sample in SAMPLES
        ]
        return self._page(visit, "people.html", offered=offered, problem=problem, status=status)

    def _page_of_rewards(
        self, visit: Visit, template: str, standing: Standing, *, status: int = 200, **content: Any
    ) -> Response:
        """A page about rewards. It begins with a sentence about delayed rewards, if there are any."""
        now = self._service.now()
        notice = wording.notice_text(standing, now)
        return self._page(visit, template, status=status, standing=standing, now=now, notice=notice, **content)

    def _page(
        self, visit: Visit, template: str, *, status: int = 200, notice: str | None = None, **content: Any
    ) -> Response:
        html = self._templates.get_template(template).render(
            visit=visit,
            zone=visit.zone,
            token=self._sessions.form_token(visit.session),
            notice=notice,
            **content,
        )
        response = HTMLResponse(html, status_code=status)
        if visit.is_new:
            self._keep_session(response, visit.session)
        return response

    def _notice(self, status: int, title: str, sentence: str) -> Response:
        html = self._templates.get_template("notice.html").render(
            visit=None, zone=None, notice=None, title=title, sentence=sentence, status=status
        )
        return HTMLResponse(html, status_code=status)

    def _refused(self) -> Response:
        """The page for a refusal of the ledger that is not the visitor's fault."""
        return self._notice(
            409, "That did not work", "Nothing was changed. Please ask the exchange's support if it stays so."
        )

    def _document_text(self, name: str, version: str) -> str | None:
        """The template with the text of a document's version; None if there is no such text."""
        path = f"documents/{name}-{version}.html"
        try:
            self._templates.get_template(path)
        except TemplateNotFound:
            return None
        return path


class _Static(StaticFiles):
    """Our own style, script and icon, which browsers may keep but must revalidate."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _refused_documents(refusal: Refusal | None) -> set[str]:
    reasons = refusal.reasons if refusal else []
    return {
        reason.code.partition(":")[2] for reason in reasons if reason.code.startswith("document_not_accepted:")
    }


def _csv_file(answer: Response, name: str) -> Response:
    """The answer as a file that a browser saves under a name."""
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _see(path: str) -> Response:
    return RedirectResponse(path, status_code=303)
