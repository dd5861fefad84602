"""Links to the page on which a person sees and changes what is done with their data, made by the site."""

from __future__ import annotations

import base64
import hashlib

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from opportune.clock import DAY, Clock, Millis
from opportune.engine.erasing import named
from opportune.errors import InvalidRequest, Unauthorized
from opportune.events.event import Identifier

PATH = "/preferences"
MOST_DAYS = 90
DAYS = 7


class _Link(msgspec.Struct, array_like=True):
    identifier: Identifier
    until: Millis


class PreferenceLinks:
    """Opaque, signed and sealed (Fernet) with a key of the folder's secret key: an address says nothing about
    anybody, and a new secret key ends all links."""

    def __init__(self, secret: str, clock: Clock) -> None:
        key = hashlib.blake2b(secret.encode(), person=b"preferences", digest_size=32).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(key))
        self._clock = clock

    def make(self, identifier: str, days: int = DAYS) -> str:
        """The path of a person's page. Raises :class:`InvalidRequest`."""
        if not 1 <= days <= MOST_DAYS:
            raise InvalidRequest(
                f"a link lives for 1 to {MOST_DAYS} days", seen=days, where="$.days", remedy="change it"
            )
        now = self._clock()
        link = msgspec.msgpack.encode(_Link(named(identifier), now + days * DAY))
        return f"{PATH}/{self._fernet.encrypt_at_time(link, now // 1000).decode()}"

    def read(self, token: str) -> Identifier:
        """Whose link it is. Raises :class:`Unauthorized`."""
        try:
            link = msgspec.msgpack.decode(self._fernet.decrypt(token.encode()), type=_Link)
        except (InvalidToken, msgspec.DecodeError, UnicodeEncodeError) as error:
            raise Unauthorized("this link is not a good one", remedy="ask the site for a new one") from error
        if link.until <= self._clock():
            raise Unauthorized("this link has ended", remedy="ask the site for a new one")
        return link.identifier
