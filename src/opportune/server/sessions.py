"""Signing in to the console: the secret key, a name and its password, or what an OpenID provider says; then
a signed cookie that scripts cannot read.

A session is stateless: its cookie says whose it is and when it ends, and is signed with a key derived from
the secret key, so changing the secret key ends every session. A user's session also ends when the user is
removed or gets another role or password. The session of somebody whom a provider knows carries the role
that was given at sign-in, and ends when ``access.yaml`` gives roles otherwise.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections import OrderedDict
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from opportune.access.passwords import matches
from opportune.access.roster import Roster, same
from opportune.access.scopes import EVERYTHING, SECRET_GRANT, Grant
from opportune.clock import HOUR, SECOND, Clock, Millis, system_clock
from opportune.errors import Forbidden, Overloaded, Unauthorized
from opportune.server.auth import Keys
from opportune.server.oidc import WHO, Provider

COOKIE = "opportune_session"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
LIFETIME: Millis = 12 * HOUR
PASSWORD_VARIABLE = "OPPORTUNE_CONSOLE_PASSWORD"
OWNER = "admin"
"""The name that goes with the password in :data:`PASSWORD_VARIABLE`; an administrator."""
TRIES = 5
PAUSE: Millis = 30 * SECOND
"""After :data:`TRIES` wrong passwords for one name, one more try each so long."""


class Sessions:
    """``sign_in`` on the login form, ``require`` on every page, ``require_csrf`` on every post of a form."""

    def __init__(
        self,
        keys: Keys,
        clock: Clock = system_clock,
        environment: Mapping[str, str] | None = None,
        provider: Provider | None = None,
    ) -> None:
        self._keys = keys
        self.clock = self._clock = clock
        self.provider = provider
        self._key = hmac.digest(keys.secret.encode(), b"opportune console session", hashlib.sha256)
        self._password = (os.environ if environment is None else environment).get(PASSWORD_VARIABLE, "")
        self._wrong = _Wrong(clock)

    @property
    def secret(self) -> str:
        """The secret key, to derive keys from."""
        return self._keys.secret

    @property
    def roster(self) -> Roster | None:
        """The keys and users of the folder, where there is one."""
        return self._keys.roster

    @property
    def has_names(self) -> bool:
        """Whether anybody may sign in by name; else only the secret key does."""
        roster = self._keys.roster
        return bool(self._password) or (roster is not None and bool(roster.list_users()))

    def check(self, name: str, presented: str) -> Grant:
        """Whose sign-in this is. With a name, ``presented`` is a password, and 50 ms go into comparing it: so
        not on the event loop. Raises :class:`Unauthorized`, and :class:`Overloaded` for a name that was tried
        wrongly too often."""
        if not name:
            if self._keys.grant(presented) is not SECRET_GRANT:
                raise Unauthorized("this is not the secret key", remedy="it was printed at the first start")
            return SECRET_GRANT
        self._wrong.check(name)
        grant = self._named(name, presented)
        if grant is None:
            self._wrong.count(name)
            raise Unauthorized("name and password do not belong together", remedy="try again")
        self._wrong.forget(name)
        return grant

    def sign_in(self, grant: Grant, response: Response, *, secure: bool) -> None:
        """Set the session's cookie on ``response``; ``secure`` when the page came over HTTPS."""
        response.set_cookie(
            COOKIE,
            self.issue(grant),
            max_age=LIFETIME // 1_000,
            path="/",
            httponly=True,
            samesite="strict",
            secure=secure,
        )

    def sign_out(self, response: Response) -> None:
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")

    def issue(self, grant: Grant = SECRET_GRANT) -> str:
        """A fresh cookie value: end, nonce, who, signature."""
        told = f"{grant.scopes}:{grant.who}" if grant.who.startswith(WHO) else grant.who
        who = base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")
        text = f"{self._clock() + LIFETIME}.{secrets.token_urlsafe(12)}.{who}"
        return f"{text}.{self._sign(b'session', f'{text}|{self._stamp(told)}')}"

    def grant_of(self, cookie: str) -> Grant | None:
        """What the session behind a cookie may do; None when there is none, or it has ended."""
        text, _, signature = cookie.rpartition(".")
        end, _, rest = text.partition(".")
        who = _decoded(rest.partition(".")[2])
        if not same(signature, self._sign(b"session", f"{text}|{self._stamp(who)}")):
            return None
        if int(end) <= self._clock():
            return None
        return self._grant(who)

    def visitor(self, request: Request) -> Grant | None:
        """By key in ``Authorization`` (for ``.json`` pages in scripts), or by cookie."""
        authorization = request.headers.get("authorization", "").encode("latin-1", "replace")
        if authorization:
            grant = self._keys.header_grant(authorization)
            if grant is not None and not grant.is_public:
                return grant
        return self.grant_of(request.cookies.get(COOKIE, ""))

    def require(self, request: Request, access: str) -> Grant:
        """Raises :class:`Unauthorized` for a stranger, :class:`Forbidden` for who may not do this."""
        grant = self.visitor(request)
        if grant is None:
            raise Unauthorized("not signed in", remedy="sign in with the secret key, or with your name")
        if not grant.allows(access):
            raise Forbidden(f"this needs the scope {access}", remedy="ask an administrator for another role")
        return grant

    def csrf_token(self, request: Request) -> str:
        """The token to put in a form's hidden ``csrf`` field; bound to this session."""
        return self._sign(b"csrf", request.cookies.get(COOKIE, ""))

    def require_csrf(self, request: Request, token: str) -> None:
        """``token`` is the form's ``csrf`` field or the ``X-CSRF-Token`` header. A request that carries the
        key itself needs none: another site cannot make a browser send that."""
        if self._keys.header_grant(request.headers.get("authorization", "").encode("latin-1", "replace")):
            return
        if not same(token, self.csrf_token(request)):
            raise Forbidden("this form is from another session", remedy="reload the page and send it again")

    def _named(self, name: str, password: str) -> Grant | None:
        if name == OWNER and self._password:
            return Grant(EVERYTHING, f"user:{OWNER}") if same(password, self._password) else None
        roster = self._keys.roster
        user = None if roster is None else roster.user(name)
        return user.grant if matches(password, user.password if user else "") and user else None

    def _grant(self, who: str) -> Grant | None:
        if who == SECRET_GRANT.who:
            return SECRET_GRANT
        scopes, _, guest = who.partition(":")
        if guest.startswith(WHO) and scopes.isdecimal():
            return None if self.provider is None else Grant(int(scopes), guest)
        name = who.removeprefix("user:")
        if name == OWNER and self._password:
            return Grant(EVERYTHING, who)
        user = None if self._keys.roster is None else self._keys.roster.user(name)
        return None if user is None else user.grant

    def _stamp(self, who: str) -> str:
        """What must not have changed since the session began."""
        if who.partition(":")[2].startswith(WHO):
            return "" if self.provider is None else self.provider.rules.stamp()
        name = who.removeprefix("user:")
        if name == who:
            return ""
        if name == OWNER and self._password:
            return self._password
        user = None if self._keys.roster is None else self._keys.roster.user(name)
        return "" if user is None else str(user.changed)

    def _sign(self, purpose: bytes, text: str) -> str:
        return hmac.new(self._key, purpose + b":" + text.encode(), hashlib.sha256).hexdigest()


class _Wrong:
    """Wrong passwords by name, the last thousand names."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_name: OrderedDict[str, tuple[int, Millis]] = OrderedDict()

    def check(self, name: str) -> None:
        count, last = self._by_name.get(name, (0, 0))
        wait = last + PAUSE - self._clock()
        if count >= TRIES and wait > 0:
            raise Overloaded("too many wrong passwords for this name", retry_after_s=wait // 1_000 + 1)

    def count(self, name: str) -> None:
        count, _ = self._by_name.pop(name, (0, 0))
        self._by_name[name] = count + 1, self._clock()
        if len(self._by_name) > 1_000:
            self._by_name.popitem(last=False)

    def forget(self, name: str) -> None:
        self._by_name.pop(name, None)


def _decoded(who: str) -> str:
    try:
        return base64.urlsafe_b64decode(who + "=" * (-len(who) % 4)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
