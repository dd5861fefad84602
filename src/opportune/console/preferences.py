"""The page on which a person sees and changes what is done with their data: no sign-in, a signed link."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from opportune.access.audit import Audit
from opportune.console import words
from opportune.console.assets import Assets
from opportune.console.forms import read_form
from opportune.console.safety import SafetyHeaders
from opportune.engine.admission import Admission
from opportune.engine.engine import Engine
from opportune.errors import InvalidRequest, NotFound, OpportuneError
from opportune.events.event import Event, Identifier, Line
from opportune.server.preference_links import PreferenceLinks
from opportune.server.privacy import carry_out

SOURCE = "preferences"
MOST_ITEMS = 8
WHO = "the person"
SAID = {
    "saved": "Saved. It holds from now on.",
    "dismissed": "You will not be shown that again.",
    "noted": "Noted. It holds from now on.",
}


class Preferences:
    """One ASGI application over one engine, on its thread."""

    def __init__(self, engine: Engine, links: PreferenceLinks, audit: Audit) -> None:
        self._engine, self._links, self._audit = engine, links, audit
        self._assets = Assets(Path(__file__).parent / "static", "/static")
        self._pages = Environment(
            loader=PackageLoader("opportune.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._pages.filters["moment"] = words.moment
        self.app = Starlette(
            routes=[
                Route("/static/{name}", self._assets.respond),
                Route("/{token}/data.json", self._data),
                Route("/{token}", self._page),
                Route("/{token}", self._change, methods=["POST"]),
            ],
            middleware=[Middleware(SafetyHeaders)],
            exception_handlers={OpportuneError: self._error},
        )

    # -- what is asked

    async def _page(self, request: Request) -> Response:
        person = self._links.read(request.path_params["token"])
        self._audit.note(WHO, "preferences.read", [person])
        said = SAID.get(request.query_params.get("said", ""), "")
        return self._render(request, said=said, **self.told(person))

    async def _data(self, request: Request) -> Response:
        person = self._links.read(request.path_params["token"])
        self._audit.note(WHO, "person.exported", [person])
        held = msgspec.json.format(msgspec.json.encode(self._engine.holdings(person)), indent=1)
        return Response(
            held,
            media_type="application/json",
            headers={"content-disposition": 'attachment; filename="my-data.json"', **_PRIVATE},
        )

    async def _change(self, request: Request) -> Response:
        person = self._links.read(request.path_params["token"])
        form = await read_form(request)
        acts: dict[str, Callable[[Identifier, Mapping[str, str]], tuple[Admission, str]]] = {
            "save": self._save,
            "dismiss": self._dismiss,
            "restrict": self._restrict,
        }
        action = form.get("action", "")
        if action == "delete":
            return self._delete(request, person, form)
        if action not in acts:
            raise InvalidRequest("no such choice", seen=action, where="action", remedy="go back")
        admission, said = acts[action](person, form)
        await _commit(request, self._engine, admission)
        return RedirectResponse(f"{request.url.path}?said={said}", status_code=303, headers=_PRIVATE)

    # -- what there is to tell

    def told(self, person: Identifier) -> dict[str, Any]:
        """Everything on the page; ``known`` is false for somebody of whom nothing is."""
        engine = self._engine
        standing = engine.consent.standing(engine.component(person).identifiers)
        purposes = [
            {
                "name": name,
                "title": name.replace("_", " ").capitalize(),
                "about": purpose.description or _ABOUT.get(name, f"For: {', '.join(purpose.uses)}."),
                "allowed": standing.purposes[name][0],
            }
            for name, purpose in engine.workspace.consent.purposes.items()
        ]
        found: dict[str, Any] = {
            "known": False,
            "purposes": purposes,
            "restricted": standing.restricted,
            "seen": [],
            "dismissed": [],
            "counts": {},
        }
        try:
            profile = engine.profile(person)
        except NotFound:
            return found
        dismissed = [self._name(item) for item in profile["dismissed"]]
        return {
            **found,
            "known": True,
            "seen": self._why(profile["exposures"], set(profile["dismissed"])),
            "dismissed": dismissed[:MOST_ITEMS],
            "counts": {
                "events": sum(profile["events"].values()),
                "first_seen": profile["first_seen"],
                "identifiers": len(profile["identifiers"]),
            },
        }

    def _why(self, exposures: list[dict[str, Any]], dismissed: set[str]) -> list[dict[str, str]]:
        """The items shown last, each once, with the reason that was given for it."""
        found: dict[str, dict[str, str]] = {}
        for exposure in exposures:
            try:
                record = self._engine.record(exposure["decision_id"])
            except NotFound:
                continue
            which = record.inputs.get("reason_of", b"")
            for at, item in enumerate(record.candidates[: record.shown]):
                if item in found or item in dismissed:
                    continue
                reason = record.reasons[which[at]].text if at < len(which) else ""
                why = reason or "our recommendation"
                if record.likely is not None:
                    why += "; we also looked at what somebody did who is probably you"
                found[item] = {"item_id": item, "name": self._name(item), "why": why}
                if len(found) == MOST_ITEMS:
                    return list(found.values())
        return list(found.values())

    def _name(self, item: str) -> str:
        number = self._engine.catalog.number(item)
        return self._engine.catalog.name(number) if number >= 0 else item

    # -- what is changed

    def _save(self, person: Identifier, form: Mapping[str, str]) -> tuple[Admission, str]:
        """What the person allows, under every identifier of theirs: it is one person's word."""
        names = self._engine.workspace.consent.purposes
        chosen = {name: form.get(f"purpose.{name}") == "yes" for name in names}
        self._audit.note(WHO, "preferences.saved", [person], changed=True)
        members = self._engine.component(person).identifiers
        said = [self._event("consent_updated", one, {"categories": chosen}) for one in members]
        return self._admit(said), "saved"

    def _dismiss(self, person: Identifier, form: Mapping[str, str]) -> tuple[Admission, str]:
        item = form.get("item", "")
        if self._engine.catalog.number(item) < 0:
            raise InvalidRequest("no such item", seen=item, where="item", remedy="go back")
        event = self._event("product_dismissed", person, {"product_id": item})
        event.lines = (Line(item),)
        return self._admit([event]), "dismissed"

    def _restrict(self, person: Identifier, form: Mapping[str, str]) -> tuple[Admission, str]:
        lifts = form.get("lift") == "yes"
        rights = self._engine.rights
        admission = rights.exercise("lift" if lifts else "restrict", person, who=WHO, why="on their own page")
        self._audit.note(WHO, "person.unrestricted" if lifts else "person.restricted", [person], changed=True)
        return admission, "noted"

    def _delete(self, request: Request, person: Identifier, form: Mapping[str, str]) -> Response:
        if form.get("sure") != "yes":
            raise InvalidRequest("tick the box to delete your data", where="sure", remedy="go back")
        erasing = self._engine.erasing([person])
        self._audit.note(WHO, "person.erased", [person], changed=True, erasure=erasing.id)
        erasing.begin()
        carry_out(erasing)
        return self._render(request, said="", erased=erasing.id, **self.told(person))

    def _event(self, name: str, person: Identifier, properties: dict[str, Any]) -> Event:
        now = self._engine.clock()
        return Event("track", name, secrets.token_hex(16), SOURCE, now, now, (person,), properties=properties)

    def _admit(self, events: list[Event]) -> Admission:
        return self._engine.admit(
            events, kind=None, dialect="segment", source=SOURCE, received=self._engine.clock()
        )

    # -- rendering

    def _render(self, request: Request, **values: Any) -> Response:
        base = str(request.scope.get("root_path", ""))
        page = self._pages.get_template("preferences.html").render(
            here=request.url.path,
            asset=lambda name: base + self._assets.url(name),
            **{"erased": "", "problem": "", **values},
        )
        return HTMLResponse(page, headers=_PRIVATE)

    def _error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, OpportuneError)
        answer = self._render(request, said="", problem=f"{error.what}. {error.remedy}", known=False)
        answer.status_code = error.status
        return answer


_PRIVATE = {"referrer-policy": "no-referrer", "x-robots-tag": "noindex", "cache-control": "no-store"}
"""The address is the key: it must not travel on."""

_ABOUT = {
    "personalization": "Show me what fits me, by what I look at and buy.",
    "analytics": "Count what I do, and let the shop learn from it.",
    "advertising": "Share what I do with partners for advertising.",
}


async def _commit(request: Request, engine: Engine, admission: Admission) -> None:
    """Through the server's writer, which groups flushes; without a server, directly."""
    service = request.scope.get("state", {}).get("service")
    if service is None:
        engine.commit(admission)
    else:
        await service.writer.commit(admission)
