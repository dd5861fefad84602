"""Signing in and out: the secret key, name and password, or an OpenID provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from opportune.access.audit import Audit
from opportune.access.roster import same
from opportune.console.forms import read_form
from opportune.errors import InvalidRequest, NotFound, OpportuneError, Overloaded, Unauthorized
from opportune.server.oidc import Provider, ProviderUnavailable
from opportune.server.oidc_pending import COOKIE, PendingSignIns
from opportune.server.sessions import Sessions

START = "/oidc/start"
CALLBACK = "/oidc/callback"

Render = Callable[..., Response]


class SignIn:
    """The pages that nobody has to be signed in for. ``render(request, template, **values)`` makes a page."""

    def __init__(self, sessions: Sessions, audit: Audit, render: Render) -> None:
        self._sessions = sessions
        self._audit = audit
        self._render = render
        self._pending = PendingSignIns(sessions.secret, sessions.clock)

    async def login(self, request: Request) -> Response:
        if request.method == "GET":
            return self._page(request, "", request.query_params.get("next", ""))
        form = await read_form(request)
        following = form.get("next", "")
        name = form.get("name", "").strip().lower()
        try:
            grant = await asyncio.to_thread(self._sessions.check, name, form.get("key", "").strip())
        except (Unauthorized, Overloaded) as error:
            self._audit.note("nobody", "sign-in.refused", [f"user:{name}"])
            return self._page(request, str(error), following, name, status=error.status)
        self._audit.note(grant.who, "sign-in")
        answer = RedirectResponse(_safe(request, following), status_code=303)
        self._sessions.sign_in(grant, answer, secure=request.url.scheme == "https")
        return answer

    async def logout(self, request: Request) -> Response:
        grant = self._sessions.visitor(request)
        if grant is None:
            raise Unauthorized("not signed in", remedy="sign in with the secret key, or with your name")
        self._sessions.require_csrf(request, (await read_form(request)).get("csrf", ""))
        self._audit.note(grant.who, "sign-out")
        answer = RedirectResponse(f"{_base(request)}/login", status_code=303)
        self._sessions.sign_out(answer)
        return answer

    async def start(self, request: Request) -> Response:
        """To the provider, remembering in the browser what was asked."""
        provider = self._provider()
        redirect_uri = self._redirect_uri(request, provider)
        pending = self._pending.begin(redirect_uri, request.query_params.get("next", "")[:2_000])
        try:
            address = await asyncio.to_thread(provider.address, pending)
        except (ProviderUnavailable, Overloaded) as error:
            return self._page(request, str(error), pending.following, status=error.status)
        answer = RedirectResponse(address, status_code=303)
        self._pending.keep(
            pending, answer, _base(request) + "/oidc", secure=redirect_uri.startswith("https:")
        )
        return answer

    async def callback(self, request: Request) -> Response:
        """Back from the provider. The page that answers goes on by itself: a cookie for this site alone is
        not sent along a redirect that another site began."""
        provider = self._provider()
        query = request.query_params
        following, who = "", "nobody"
        try:
            pending = self._pending.take(request.cookies.get(COOKIE, ""), query.get("state", ""))
            following = pending.following
            if not same(query.get("iss", provider.rules.issuer), provider.rules.issuer):
                raise InvalidRequest("another provider answers than was asked", remedy="sign in again")
            if query.get("error"):
                raise Unauthorized(
                    "the provider did not sign you in", seen=query["error"][:100], remedy="try again"
                )
            visitor = await asyncio.to_thread(provider.finish, pending, query.get("code", ""))
        except OpportuneError as error:
            about = [f"oidc:{error.seen}"] if error.code == "forbidden" else []
            self._audit.note(who, "sign-in.refused", about, by="oidc", why=error.what)
            answer = self._page(request, str(error), following, status=error.status)
            self._pending.forget(answer, _base(request) + "/oidc")
            return answer
        self._audit.note(visitor.grant.who, "sign-in", by="oidc", subject=visitor.subject, role=visitor.role)
        answer = self._render(request, "signed_in.html", following=_safe(request, following))
        self._sessions.sign_in(visitor.grant, answer, secure=pending.redirect_uri.startswith("https:"))
        self._pending.forget(answer, _base(request) + "/oidc")
        return answer

    def _provider(self) -> Provider:
        if self._sessions.provider is None:
            raise NotFound("nobody signs in here by OpenID Connect", remedy="declare it in access.yaml")
        return self._sessions.provider

    def _redirect_uri(self, request: Request, provider: Provider) -> str:
        origin = provider.rules.public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"
        return f"{origin}{_base(request)}{CALLBACK}"

    def _page(
        self, request: Request, problem: str, following: str, name: str = "", status: int = 200
    ) -> Response:
        provider = self._sessions.provider
        answer = self._render(
            request,
            "login.html",
            problem=problem,
            following=following,
            name=name,
            has_names=self._sessions.has_names,
            oidc=provider and provider.rules.title,
            oidc_start=f"{_base(request)}{START}?{urlencode({'next': following})}",
            oidc_logout=provider.logout if provider else "",
        )
        answer.status_code = status
        return answer


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _safe(request: Request, following: str) -> str:
    """Only a path of this console: anything else would make sign-in a way to send people elsewhere."""
    base = _base(request)
    fine = following.startswith(f"{base}/") and not following.startswith("//") and "\\" not in following
    return following if fine else f"{base}/"
