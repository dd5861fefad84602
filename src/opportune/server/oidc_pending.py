"""A sign-in on its way, in a cookie of the browser that began it: sealed, for ten minutes, used once."""

from __future__ import annotations

import base64
import hashlib
import secrets

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from starlette.responses import Response

from opportune.access.roster import same
from opportune.clock import MINUTE, Clock, Millis
from opportune.errors import InvalidRequest
from opportune.server.oidc import Pending

COOKIE = "opportune_sign_in"
LIFETIME: Millis = 10 * MINUTE


class PendingSignIns:
    """Nothing is kept here: another process of the same folder can finish what this one began."""

    def __init__(self, secret: str, clock: Clock) -> None:
        key = hashlib.blake2b(secret.encode(), person=b"oidc pending", digest_size=32).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(key))
        self._clock = clock

    def begin(self, redirect_uri: str, following: str) -> Pending:
        return Pending(
            secrets.token_urlsafe(24),
            secrets.token_urlsafe(24),
            secrets.token_urlsafe(48),
            redirect_uri,
            following,
            self._clock() + LIFETIME,
        )

    def keep(self, pending: Pending, response: Response, path: str, *, secure: bool) -> None:
        """``SameSite=Lax``: the provider sends the browser back, which is another site."""
        sealed = self._fernet.encrypt_at_time(msgspec.msgpack.encode(pending), self._clock() // 1_000)
        response.set_cookie(
            COOKIE,
            sealed.decode(),
            max_age=LIFETIME // 1_000,
            path=path,
            httponly=True,
            samesite="lax",
            secure=secure,
        )

    def forget(self, response: Response, path: str) -> None:
        response.delete_cookie(COOKIE, path=path, httponly=True, samesite="lax")

    def take(self, cookie: str, state: str) -> Pending:
        """What this browser began and the provider answers. Raises :class:`InvalidRequest`."""
        try:
            pending = msgspec.msgpack.decode(self._fernet.decrypt(cookie.encode()), type=Pending)
        except (InvalidToken, msgspec.DecodeError) as error:
            raise self._unknown() from error
        if pending.until <= self._clock() or not same(state, pending.state):
            raise self._unknown()
        return pending

    def _unknown(self) -> InvalidRequest:
        return InvalidRequest(
            "this sign-in was not begun in this browser, or took too long", remedy="sign in again"
        )
