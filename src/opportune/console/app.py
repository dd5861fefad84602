"""The console as an application: sign-in, pages, their ``.json`` twins, the two verbs of dead letters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from opportune.console import charts, identity_graph, lifts, words
from opportune.console.assets import Assets
from opportune.console.desk import Desk, Engine
from opportune.console.safety import SafetyHeaders
from opportune.console.trials import Trials
from opportune.engine.admission import Admission
from opportune.errors import InvalidRequest, OpportuneError, Unauthorized
from opportune.events.verdicts import DUPLICATE, STORED
from opportune.server.sessions import Sessions
from opportune.warehouse.reports import Reports

HERE = Path(__file__).parent
FORM_BYTES = 2 * 1024 * 1024

Answer = Callable[[Mapping[str, str]], dict[str, Any]]
Lookup = Callable[[str], dict[str, Any]]

SAID = {
    "stored": "The event is stored now.",
    "duplicate": "The event had been stored before: the letter is closed.",
    "rejected": "The event was refused again. The reason below is the new one.",
    "discarded": "The letter is discarded. Its bytes stay in the journal.",
}


def create_console(
    engine: Engine, sessions: Sessions, *, shop_url: str = "", reports: Reports | None = None
) -> Starlette:
    """The console, to mount anywhere (usually ``/console``). ``shop_url`` links back to the demo shop;
    ``reports`` are those of the same engine."""
    return _Console(Desk(engine), sessions, shop_url, Trials(reports)).app


class _Console:
    def __init__(self, desk: Desk, sessions: Sessions, shop_url: str, trials: Trials) -> None:
        self.desk = desk
        self.trials = trials
        self.sessions = sessions
        self.assets = Assets(HERE / "static", "/static")
        self.pages = Environment(
            loader=PackageLoader("opportune.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.pages.globals.update(
            charts=charts, lifts=lifts, graph=identity_graph.graph, shop_url=shop_url, Step=charts.Step
        )
        self.pages.filters.update(
            moment=words.moment, iso=words.iso, ago=words.ago, value=words.value, feature=words.feature,
            plain=words.plain, pretty=words.pretty, path=lambda text: quote(text, safe=":"),
            number=charts.number, shorten=identity_graph.shorten, zip_with=_zip,
        )  # fmt: skip
        self.app = Starlette(
            routes=self._routes(),
            middleware=[Middleware(SafetyHeaders), Middleware(GZipMiddleware, minimum_size=600)],
            exception_handlers={OpportuneError: self._error, HTTPException: self._error},
        )

    def _routes(self) -> list[BaseRoute]:
        desk = self.desk
        return [
            *self._page("/", "overview", desk.overview, json_path="/overview.json"),
            *self._page("/events", "events", desk.events),
            *self._page("/people", "people", desk.people),
            *self._entry("/people", "person", desk.person),
            *self._page("/decisions", "decisions", desk.decisions),
            *self._entry("/decisions", "decision", desk.decision),
            *self._page("/accounting", "accounting", desk.accounting),
            *self._entry("/dead-letters", "letter", desk.letter),
            Route("/dead-letters/{key}/replay", self.replay, methods=["POST"]),
            Route("/dead-letters/{key}/discard", self.discard, methods=["POST"]),
            *self._page("/placements", "placements", desk.placements),
            *self._page("/experiments", "experiments", desk.experiments),
            *self._report("/experiments/{key}", "experiment", self._experiment),
            *self._report("/business", "business", self._business),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/static/{name}", self.assets.respond),
        ]

    def _page(self, path: str, name: str, answer: Answer, *, json_path: str = "") -> list[Route]:
        def page(request: Request) -> Response:
            self.sessions.require(request)
            found = answer(request.query_params)
            if "rows" in request.query_params:
                return self._render(request, f"{name}_rows.html", **found)
            return self._render(request, f"{name}.html", section=name, **found)

        def as_json(request: Request) -> Response:
            self.sessions.require(request)
            return _json(answer(request.query_params))

        # Synchronous endpoints would run in threads, and the engine belongs to one thread.
        return [Route(json_path or f"{path}.json", _on_loop(as_json)), Route(path, _on_loop(page))]

    def _entry(self, path: str, name: str, lookup: Lookup) -> list[Route]:
        def page(request: Request) -> Response:
            self.sessions.require(request)
            found = lookup(request.path_params["key"])
            return self._render(request, f"{name}.html", section=name, **found)

        def as_json(request: Request) -> Response:
            self.sessions.require(request)
            return _json(lookup(request.path_params["key"]))

        kind = ":path" if name == "person" else ""
        return [
            Route(f"{path}/{{key{kind}}}.json", _on_loop(as_json)),
            Route(f"{path}/{{key{kind}}}", _on_loop(page)),
        ]

    def _report(
        self, path: str, name: str, ask: Callable[[Request], Awaitable[dict[str, Any]]]
    ) -> list[Route]:
        """A page that takes its time: the tables catch up in slices, the report is made in a thread."""

        async def page(request: Request) -> Response:
            self.sessions.require(request)
            return self._render(request, f"{name}.html", section=name, **await ask(request))

        async def as_json(request: Request) -> Response:
            self.sessions.require(request)
            return _json(await ask(request))

        page.__name__, as_json.__name__ = f"console_{name}", f"console_{name}_json"
        return [Route(f"{path}.json", as_json), Route(path, page)]

    async def _experiment(self, request: Request) -> dict[str, Any]:
        return await self.trials.report(request.path_params["key"])

    async def _business(self, request: Request) -> dict[str, Any]:
        return await self.trials.business()

    # -- sign-in

    async def login(self, request: Request) -> Response:
        if request.method == "GET":
            return self._render(
                request, "login.html", problem="", following=request.query_params.get("next", "")
            )
        form = await _form(request)
        following = form.get("next", "")
        base = str(request.scope.get("root_path", ""))
        # Only a path of this console: anything else would make sign-in a way to send people elsewhere.
        safe = following.startswith(f"{base}/") and not following.startswith("//") and "\\" not in following
        answer: Response = RedirectResponse(following if safe else f"{base}/", status_code=303)
        try:
            self.sessions.sign_in(form.get("key", "").strip(), answer, secure=request.url.scheme == "https")
        except Unauthorized as error:
            answer = self._render(request, "login.html", problem=str(error), following=following)
            answer.status_code = 401
        return answer

    async def logout(self, request: Request) -> Response:
        self.sessions.require(request)
        self.sessions.require_csrf(request, (await _form(request)).get("csrf", ""))
        answer = RedirectResponse(f"{request.scope.get('root_path', '')}/login", status_code=303)
        self.sessions.sign_out(answer)
        return answer

    # -- dead letters

    async def replay(self, request: Request) -> Response:
        """Try again: as it came, or as edited in the form."""
        form = await self._allowed_form(request)
        letter_id = request.path_params["key"]
        before = self.desk.engine.letter(letter_id).raw
        text = form.get("raw")
        edited = None if text is None else text.replace("\r\n", "\n").encode("utf-8", "replace")
        fixed = edited if edited is not None and edited != before else None
        admission = self.desk.engine.replay_dead_letter(letter_id, fixed)
        await self._commit(request, admission)
        verdict = admission.verdicts[0].verdict
        if verdict in (STORED, DUPLICATE):
            return self._to(request, "/accounting", verdict)
        return self._to(request, f"/dead-letters/{quote(letter_id)}", "rejected")

    async def discard(self, request: Request) -> Response:
        await self._allowed_form(request)
        await self._commit(request, self.desk.engine.discard_dead_letter(request.path_params["key"]))
        return self._to(request, "/accounting", "discarded")

    async def _allowed_form(self, request: Request) -> dict[str, str]:
        self.sessions.require(request)
        form = await _form(request)
        self.sessions.require_csrf(request, form.get("csrf", ""))
        return form

    async def _commit(self, request: Request, admission: Admission) -> None:
        """Through the server's writer, which groups flushes; without a server, directly."""
        service = request.scope.get("state", {}).get("service")
        if service is None:
            self.desk.engine.commit(admission)
        else:
            await service.writer.commit(admission)

    def _to(self, request: Request, path: str, said: str) -> Response:
        base = request.scope.get("root_path", "")
        return RedirectResponse(f"{base}{path}?{urlencode({'said': said})}", status_code=303)

    # -- rendering

    def _render(self, request: Request, template: str, *, section: str = "", **values: Any) -> Response:
        base = str(request.scope.get("root_path", ""))
        signed_in = self.sessions.signed_in(request)
        context = {
            "base": base,
            "section": section,
            "csrf": self.sessions.csrf_token(request) if signed_in else "",
            "signed_in": signed_in,
            "said": SAID.get(request.query_params.get("said", ""), ""),
            "here": request.url.path,
            "asset": lambda name: base + self.assets.url(name),
            **values,
        }
        return HTMLResponse(self.pages.get_template(template).render(context))

    def _error(self, request: Request, error: Exception) -> Response:
        if isinstance(error, OpportuneError):
            status, body = error.status, error.to_dict()
        else:
            status = error.status_code if isinstance(error, HTTPException) else 500
            body = {
                "code": "not_found" if status == 404 else "http_error",
                "message": "nothing is at this address",
            }
        if request.url.path.endswith(".json"):
            return _json(body, status)
        if status == 401:
            base = str(request.scope.get("root_path", ""))
            following = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"{base}/login?{urlencode({'next': following})}", status_code=303)
        answer = self._render(request, "error.html", status=status, body=body)
        answer.status_code = status
        return answer


def _on_loop(answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return answer(request)

    endpoint.__name__ = f"console_{answer.__name__}"
    return endpoint


def _zip(a: Iterable[Any], b: Iterable[Any]) -> list[tuple[Any, Any]]:
    return list(zip(a, b, strict=True))


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


async def _form(request: Request) -> dict[str, str]:
    """A posted form, URL-encoded; the first value of each field. Raises when it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            raise InvalidRequest("the form is too large", remedy=f"send at most {FORM_BYTES:,} bytes")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=50)
    return {name: given[0] for name, given in fields.items()}
