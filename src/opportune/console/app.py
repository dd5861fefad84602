"""The console as an application: sign-in, pages, their ``.json`` twins, the two verbs of dead letters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from opportune.access.audit import Audit, Unaudited
from opportune.access.roster import Roster
from opportune.access.scopes import ROLES, Access, Grant, names_of
from opportune.clock import DAY
from opportune.console import charts, identity_graph, lifts, posteriors, sign_in, words
from opportune.console.assets import Assets
from opportune.console.desk import Desk, Engine
from opportune.console.forms import read_form
from opportune.console.proposals import evidence
from opportune.console.safety import SafetyHeaders
from opportune.console.trials import Trials
from opportune.engine.admission import Admission
from opportune.errors import InvalidRequest, NotFound, NotInstalled, OpportuneError, Unauthorized
from opportune.events.rights import Right
from opportune.events.verdicts import DUPLICATE, STORED
from opportune.identity.corrections import EVENT_OF, Action
from opportune.server.access import MOST_DAYS
from opportune.server.privacy import AUDITED
from opportune.server.sessions import Sessions
from opportune.stores.likely import LikelyStore
from opportune.warehouse.reports import Reports

HERE = Path(__file__).parent

Answer = Callable[[Mapping[str, str]], dict[str, Any]]
Lookup = Callable[[str], dict[str, Any]]
Endpoint = Callable[[Request], Awaitable[Response]]

SAID = {
    "stored": "The event is stored now.",
    "duplicate": "The event had been stored before: the letter is closed.",
    "rejected": "The event was refused again. The reason below is the new one.",
    "revoked": "The key is refused from now on.",
    "joined": "They are one person now.",
    "apart": "They are two people now.",
    "still": "That link is taken back; others still join them.",
    "held": "A guard holds the link back: it waits for review below.",
    "noted": "It is on record, and holds from now on.",
    "discarded": "The letter is discarded. Its bytes stay in the journal.",
}


def create_console(
    engine: Engine,
    sessions: Sessions,
    *,
    shop_url: str = "",
    reports: Reports | None = None,
    audit: Audit | None = None,
    likely: LikelyStore | None = None,
) -> Starlette:
    """The console, to mount anywhere (usually ``/console``). ``shop_url`` links back to the demo shop;
    ``reports`` are those of the same engine; ``audit`` notes who looked at whom;
    ``likely`` has the proposals of who may be one."""
    return _Console(Desk(engine, likely), sessions, shop_url, Trials(reports), audit or Unaudited()).app


class _Console:
    def __init__(self, desk: Desk, sessions: Sessions, shop_url: str, trials: Trials, audit: Audit) -> None:
        self.desk = desk
        self.trials = trials
        self.audit = audit
        self.access: dict[str, Access] = {}
        self.sessions = sessions
        self.sign_in = sign_in.SignIn(sessions, audit, self._render)
        self.assets = Assets(HERE / "static", "/static")
        self.pages = Environment(
            loader=PackageLoader("opportune.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.pages.globals.update(
            charts=charts,
            lifts=lifts,
            posteriors=posteriors.posteriors,
            graph=identity_graph.graph,
            shop_url=shop_url,
            Step=charts.Step,
            evidence=evidence,
        )
        self.pages.filters.update(
            moment=words.moment, iso=words.iso, ago=words.ago, value=words.value, feature=words.feature,
            plain=words.plain, pretty=words.pretty, path=lambda text: quote(text, safe=":"),
            percent=lambda row: (row[0], 100 * row[1]),
            number=charts.number, shorten=identity_graph.shorten, zip_with=_zip,
        )  # fmt: skip
        self.app = Starlette(
            routes=self._routes(),
            middleware=[Middleware(SafetyHeaders), Middleware(GZipMiddleware, minimum_size=600)],
            exception_handlers={OpportuneError: self._error, HTTPException: self._error},
        )
        self.app.state.access = self.access

    def _routes(self) -> list[BaseRoute]:
        """Every page with the scope that it needs."""
        desk = self.desk
        return [
            *self._page("/", "overview", "reports", desk.overview, json_path="/overview.json"),
            *self._page("/events", "events", "people", desk.events),
            *self._page("/people", "people", "people", desk.people),
            *self._entry("/people", "person", "people", desk.person),
            *self._page("/identity", "identity", "identity", desk.identity),
            self._post("/identity", "identity", self.relink),
            self._post("/rights", "privacy", self.exercise),
            *self._page("/decisions", "decisions", "people", desk.decisions),
            *self._entry("/decisions", "decision", "people", desk.decision),
            *self._page("/accounting", "accounting", "reports", desk.accounting),
            *self._entry("/dead-letters", "letter", "repair", desk.letter),
            self._post("/dead-letters/{key}/replay", "repair", self.replay),
            self._post("/dead-letters/{key}/discard", "repair", self.discard),
            *self._page("/placements", "placements", "reports", desk.placements),
            *self._page("/experiments", "experiments", "reports", desk.experiments),
            *self._page("/anonymous", "anonymous", "reports", desk.anonymous),
            *self._page("/minimise", "minimise", "reports", desk.minimise),
            *self._page("/models", "models", "reports", desk.models),
            *self._report("/experiments/{key}", "experiment", "reports", self._experiment),
            *self._entry("/bandits", "bandit", "reports", desk.bandit),
            *self._report("/business", "business", "reports", self._business),
            *self._page("/audit", "audit", "audit", self._audit),
            *self._page("/access", "access", "administer", self._access),
            self._post("/access", "administer", self.create_key),
            self._post("/access/{key}/revoke", "administer", self.revoke_key),
            self._at("/login", "open", self.sign_in.login, "GET", "POST"),
            self._at("/logout", "open", self.sign_in.logout, "POST"),
            self._at(sign_in.START, "open", self.sign_in.start),
            self._at(sign_in.CALLBACK, "open", self.sign_in.callback),
            self._at("/static/{name}", "open", self.assets.respond),
        ]

    def _at(self, path: str, access: Access, endpoint: Callable[..., Any], *methods: str) -> Route:
        """A route whose scope is on record, at ``app.state.access``: the test of who may do what reads it."""
        self.access[path] = access
        return Route(path, endpoint, methods=methods or None)

    def _page(
        self, path: str, name: str, access: Access, answer: Answer, *, json_path: str = ""
    ) -> list[Route]:
        def ask(request: Request) -> dict[str, Any]:
            grant = self.sessions.require(request, access)
            if access in ("people", "identity", "audit") and "rows" not in request.query_params:
                self.audit.note(grant.who, f"{name}.listed")
            found = answer(request.query_params)
            if not grant.allows("people"):
                without_people(found)
            return found

        def page(request: Request) -> Response:
            found = ask(request)
            if "rows" in request.query_params:
                return self._render(request, f"{name}_rows.html", **found)
            return self._render(request, f"{name}.html", section=name, **found)

        def as_json(request: Request) -> Response:
            return _json(ask(request))

        # Synchronous endpoints would run in threads, and the engine belongs to one thread.
        return [
            self._at(json_path or f"{path}.json", access, _on_loop(as_json)),
            self._at(path, access, _on_loop(page)),
        ]

    def _entry(self, path: str, name: str, access: Access, lookup: Lookup) -> list[Route]:
        def ask(request: Request) -> dict[str, Any]:
            grant = self.sessions.require(request, access)
            key = request.path_params["key"]
            if name == "person":
                self.audit.note(grant.who, "person.read", [key])
            else:
                self.audit.note(grant.who, f"{name}.read", **{name: key[:64]})
            return lookup(key)

        def page(request: Request) -> Response:
            return self._render(request, f"{name}.html", section=name, **ask(request))

        def as_json(request: Request) -> Response:
            return _json(ask(request))

        kind = ":path" if name == "person" else ""
        return [
            self._at(f"{path}/{{key{kind}}}.json", access, _on_loop(as_json)),
            self._at(f"{path}/{{key{kind}}}", access, _on_loop(page)),
        ]

    def _post(self, path: str, access: Access, act: Callable[[Request, Form], Awaitable[Response]]) -> Route:
        """A form that changes something: signed in, allowed to, and sent from a page of this session."""

        async def endpoint(request: Request) -> Response:
            grant = self.sessions.require(request, access)
            fields = await read_form(request)
            self.sessions.require_csrf(request, fields.get("csrf", ""))
            return await act(request, Form(grant, fields))

        endpoint.__name__ = f"console_{act.__name__}"
        return self._at(path, access, endpoint, "POST")

    def _report(
        self, path: str, name: str, access: Access, ask: Callable[[Request], Awaitable[dict[str, Any]]]
    ) -> list[Route]:
        """A page that takes its time: the tables catch up in slices, the report is made in a thread."""

        async def page(request: Request) -> Response:
            self.sessions.require(request, access)
            try:
                found = await ask(request)
            except NotInstalled as error:
                return self._render(request, "not_installed.html", section=name, body=error.to_dict())
            return self._render(request, f"{name}.html", section=name, **found)

        async def as_json(request: Request) -> Response:
            self.sessions.require(request, access)
            return _json(await ask(request))

        page.__name__, as_json.__name__ = f"console_{name}", f"console_{name}_json"
        return [self._at(f"{path}.json", access, as_json), self._at(path, access, page)]

    async def _experiment(self, request: Request) -> dict[str, Any]:
        return await self.trials.report(request.path_params["key"])

    async def _business(self, request: Request) -> dict[str, Any]:
        return await self.trials.business()

    # -- who may do what

    def _audit(self, query: Mapping[str, str]) -> dict[str, Any]:
        about = query.get("about", "").strip()
        return {
            "now": self.desk.clock(),
            "about": about,
            "checked": msgspec.to_builtins(self.audit.verify()),
            "entries": msgspec.to_builtins(self.audit.newest(200, about)),
        }

    def _access(self, query: Mapping[str, str]) -> dict[str, Any]:
        now, roster, provider = self.desk.clock(), self.sessions.roster, self.sessions.provider
        return {
            "now": now,
            "made": "",
            "roles": [{"name": role.value, "scopes": names_of(scopes)} for role, scopes in ROLES.items()],
            "keys": [] if roster is None else [key.shown(now) for key in roster.list_keys()],
            "users": [] if roster is None else [user.shown() for user in roster.list_users()],
            "provider": None if provider is None else msgspec.to_builtins(provider.rules),
        }

    async def create_key(self, request: Request, form: Form) -> Response:
        """The page again, with the key on it: it is in no address, and is not kept."""
        days = form.fields.get("days", "")
        if not (days.isascii() and days.isdigit() and 1 <= int(days[:6]) <= MOST_DAYS):
            raise InvalidRequest(
                f"a key ends after 1 to {MOST_DAYS} days", seen=days, where="days", remedy="change it"
            )
        key, text = self._roster().create_key(
            form.fields.get("name", ""),
            role=form.fields.get("role", ""),
            expires_in=int(days) * DAY,
            by=form.grant.who,
        )
        self.audit.note(form.grant.who, "key.created", changed=True, key=key.id, role=key.role)
        return self._render(request, "access.html", section="access", **{**self._access({}), "made": text})

    async def revoke_key(self, request: Request, form: Form) -> Response:
        key = self._roster().revoke_key(request.path_params["key"])
        self.audit.note(form.grant.who, "key.revoked", changed=True, key=key.id)
        return self._to(request, "/access", "revoked")

    def _roster(self) -> Roster:
        if self.sessions.roster is None:
            raise NotFound("this console keeps no keys", remedy="serve a data folder")
        return self.sessions.roster

    # -- dead letters

    async def replay(self, request: Request, form: Form) -> Response:
        """Try again: as it came, or as edited in the form."""
        letter_id = request.path_params["key"]
        before = self.desk.engine.letter(letter_id).raw
        text = form.fields.get("raw")
        edited = None if text is None else text.replace("\r\n", "\n").encode("utf-8", "replace")
        fixed = edited if edited is not None and edited != before else None
        admission = self.desk.engine.replay_dead_letter(letter_id, fixed)
        self.audit.note(form.grant.who, "letter.replayed", changed=True, letter=letter_id[:64])
        await self._commit(request, admission)
        verdict = admission.verdicts[0].verdict
        if verdict in (STORED, DUPLICATE):
            return self._to(request, "/accounting", verdict)
        return self._to(request, f"/dead-letters/{quote(letter_id)}", "rejected")

    async def discard(self, request: Request, form: Form) -> Response:
        letter_id = request.path_params["key"]
        admission = self.desk.engine.discard_dead_letter(letter_id)
        self.audit.note(form.grant.who, "letter.discarded", changed=True, letter=letter_id[:64])
        await self._commit(request, admission)
        return self._to(request, "/accounting", "discarded")

    # -- identity

    async def relink(self, request: Request, form: Form) -> Response:
        """Join two identifiers by hand, or take them apart, and show how they stand then."""
        asked = {name: form.fields.get(name, "").strip() for name in ("a", "b", "action", "why")}
        a, b = asked["a"], asked["b"]
        if asked["action"] not in EVENT_OF:
            raise InvalidRequest(
                "no such action", seen=asked["action"], where="action", remedy=f"one of {', '.join(EVENT_OF)}"
            )
        action: Action = asked["action"]
        engine = self.desk.engine
        admission = engine.relink(a, b, action, who=form.grant.who, why=asked["why"])
        self.audit.note(form.grant.who, f"identity.{action}", [a, b], changed=True)
        await self._commit(request, admission)
        is_one = engine.together(a, b).is_one
        said = "joined" if is_one and action != "unmerge" else "still" if is_one else "apart"
        if action == "merge" and not is_one:
            said = "held"
        return self._to(request, "/identity", said, a=a, b=b)

    async def exercise(self, request: Request, form: Form) -> Response:
        """Exercise a right of a person for them, and show them again."""
        asked = {name: form.fields.get(name, "").strip() for name in ("identifier", "why", "trait", "value")}
        right, _, use = form.fields.get("right", "").partition(" ")
        if right not in AUDITED:
            raise InvalidRequest(
                "no such right", seen=right, where="right", remedy=f"one of {', '.join(AUDITED)}"
            )
        known: Right = right
        admission = self.desk.engine.rights.exercise(
            known,
            asked["identifier"],
            who=form.grant.who,
            why=asked["why"],
            trait=asked["trait"],
            value=asked["value"] or None,
            uses=[use] if use else (),
        )
        self.audit.note(form.grant.who, AUDITED[known], [asked["identifier"]], changed=True, uses=use)
        await self._commit(request, admission)
        return self._to(request, f"/people/{quote(asked['identifier'], safe=':')}", "noted")

    async def _commit(self, request: Request, admission: Admission) -> None:
        """Through the server's writer, which groups flushes; without a server, directly."""
        service = request.scope.get("state", {}).get("service")
        if service is None:
            self.desk.engine.commit(admission)
        else:
            await service.writer.commit(admission)

    def _to(self, request: Request, path: str, said: str, **query: str) -> Response:
        base = request.scope.get("root_path", "")
        return RedirectResponse(f"{base}{path}?{urlencode({**query, 'said': said})}", status_code=303)

    # -- rendering

    def _render(self, request: Request, template: str, *, section: str = "", **values: Any) -> Response:
        base = str(request.scope.get("root_path", ""))
        grant = self._visitor(request)
        context = {
            "base": base,
            "section": section,
            "csrf": self.sessions.csrf_token(request) if grant else "",
            "signed_in": grant is not None,
            "who": grant.who if grant else "",
            "may": frozenset(names_of(grant.scopes)) if grant else frozenset(),
            "said": SAID.get(request.query_params.get("said", ""), ""),
            "here": request.url.path,
            "asset": lambda name: base + self.assets.url(name),
            **values,
        }
        return HTMLResponse(self.pages.get_template(template).render(context))

    def _visitor(self, request: Request) -> Grant | None:
        try:
            return self.sessions.visitor(request)
        except Unauthorized:  # a key that ended: the page that says so is for strangers
            return None

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


class Form(msgspec.Struct, frozen=True):
    """A posted form, and who posted it."""

    grant: Grant
    fields: dict[str, str]


def without_people(found: dict[str, Any]) -> None:
    """Take out what names people, for who may only see sums: the newest events and decisions, and letters."""
    for name in ("events", "decisions"):
        if name in found:
            found[name] = []
    letters = found.get("dead_letters")
    if letters and "letters" in letters:
        letters["letters"] = []


def _on_loop(answer: Callable[[Request], Response]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return answer(request)

    endpoint.__name__ = f"console_{answer.__name__}"
    return endpoint


def _zip(a: Iterable[Any], b: Iterable[Any]) -> list[tuple[Any, Any]]:
    return list(zip(a, b, strict=True))


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")
