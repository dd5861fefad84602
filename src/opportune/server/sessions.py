"""Signing in to the console: the secret key once, then a signed cookie that scripts cannot read.

A session is stateless: its cookie says when it ends and is signed with a key derived from the secret key, so
changing the secret key ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.requests import Request
from starlette.responses import Response

from opportune.clock import HOUR, Clock, Millis, system_clock
from opportune.errors import Forbidden, Unauthorized
from opportune.server.auth import Keys, Reach

COOKIE = "opportune_session"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
LIFETIME: Millis = 12 * HOUR


class Sessions:
    """``sign_in`` on the login form, ``require`` on every page, ``require_csrf`` on every post of a form."""

    def __init__(self, keys: Keys, clock: Clock = system_clock) -> None:
        self._keys = keys
        self._clock = clock
        self._key = hmac.digest(keys.secret.encode(), b"opportune console session", hashlib.sha256)

    def sign_in(self, presented_key: str, response: Response, *, secure: bool) -> None:
        """Set the session's cookie on ``response``; raises :class:`Unauthorized` for any other key than the
        secret one. ``secure`` when the page came over HTTPS."""
        if self._keys.reach(presented_key) is not Reach.SECRET:
            raise Unauthorized("this is not the secret key", remedy="it was printed at the first start")
        response.set_cookie(
            COOKIE,
            self.issue(),
            max_age=LIFETIME // 1_000,
            path="/",
            httponly=True,
            samesite="strict",
            secure=secure,
        )

    def sign_out(self, response: Response) -> None:
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")

    def issue(self) -> str:
        """A fresh cookie value: end, nonce, signature."""
        text = f"{self._clock() + LIFETIME}.{secrets.token_urlsafe(12)}"
        return f"{text}.{self._sign(b'session', text)}"

    def valid(self, cookie: str) -> bool:
        text, _, signature = cookie.rpartition(".")
        if not _same(signature, self._sign(b"session", text)):
            return False
        return int(text.partition(".")[0]) > self._clock()

    def signed_in(self, request: Request) -> bool:
        """By cookie, or by the secret key in ``Authorization`` (for ``.json`` pages in scripts)."""
        authorization = request.headers.get("authorization", "").encode("latin-1", "replace")
        if authorization and self._keys.header_reach(authorization) is Reach.SECRET:
            return True
        return self.valid(request.cookies.get(COOKIE, ""))

    def require(self, request: Request) -> None:
        if not self.signed_in(request):
            raise Unauthorized("not signed in", remedy="sign in with the secret key")

    def csrf_token(self, request: Request) -> str:
        """The token to put in a form's hidden ``csrf`` field; bound to this session."""
        return self._sign(b"csrf", request.cookies.get(COOKIE, ""))

    def require_csrf(self, request: Request, token: str) -> None:
        """``token`` is the form's ``csrf`` field or the ``X-CSRF-Token`` header. A request that carries the
        key itself needs none: another site cannot make a browser send that."""
        if self._keys.header_reach(request.headers.get("authorization", "").encode("latin-1", "replace")):
            return
        if not _same(token, self.csrf_token(request)):
            raise Forbidden("this form is from another session", remedy="reload the page and send it again")

    def _sign(self, purpose: bytes, text: str) -> str:
        return hmac.new(self._key, purpose + b":" + text.encode(), hashlib.sha256).hexdigest()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
