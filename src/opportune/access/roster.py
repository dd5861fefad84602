"""Keys and users of one data folder, in ``access.json`` beside the data; secrets are kept as hashes only.

Every look-up sees the file as it is: what is revoked on the command line is refused by the running server
with the next request, without a restart.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from opportune.access.passwords import hashed
from opportune.access.scopes import ROLES, Grant, Role, bits, names_of
from opportune.clock import Clock, Millis, system_clock
from opportune.errors import InvalidRequest, NotFound, StorageError, Unauthorized
from opportune.stores.disk import translated

FILE = "access.json"
LOCK = "access.lock"
PREFIX = "ok_"
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


class KeptKey(msgspec.Struct, frozen=True):
    """A key without its secret. ``digest`` is SHA-256 of the whole key: it has 256 random bits, so a slow
    hash would protect nothing. ``expires`` and ``revoked`` are times, 0 for never."""

    id: str
    name: str
    role: str
    scopes: tuple[str, ...]
    digest: str
    created: Millis
    created_by: str
    expires: Millis = 0
    revoked: Millis = 0

    def state(self, now: Millis) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires and self.expires <= now else "active"

    def shown(self, now: Millis) -> dict[str, object]:
        """For lists: everything but the digest."""
        told: dict[str, object] = msgspec.to_builtins(self)
        del told["digest"]
        return {**told, "state": self.state(now)}


class User(msgspec.Struct, frozen=True):
    """Somebody who may sign in to the console. ``changed`` is when role or password last did: sessions from
    before it end."""

    name: str
    role: Role
    password: str
    created: Millis
    changed: Millis

    @property
    def grant(self) -> Grant:
        return Grant(ROLES[self.role], f"user:{self.name}")

    def shown(self) -> dict[str, object]:
        told: dict[str, object] = msgspec.to_builtins(self)
        del told["password"]
        return told


class Kept(msgspec.Struct, frozen=True):
    """The whole file."""

    keys: tuple[KeptKey, ...] = ()
    users: tuple[User, ...] = ()


class Roster:
    """Reads the file when it has changed; 1 us to see that it has not."""

    def __init__(self, folder: Path, clock: Clock = system_clock) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._kept = Kept()
        self._by_digest: dict[str, tuple[KeptKey, Grant]] = {}

    def grant(self, presented: str) -> Grant | None:
        """What this key may do; None for one that is not known. Raises :class:`Unauthorized` for one that
        was known: whoever holds it may hear that it ended."""
        if not presented.startswith(PREFIX):
            return None
        self._refresh()
        found = self._by_digest.get(_digest(presented))
        if found is None:
            return None
        key, grant = found
        state = key.state(self._clock())
        if state != "active":
            raise Unauthorized(f"this key is {state}", seen=key.id, remedy="ask for a new key")
        return grant

    def list_keys(self) -> list[KeptKey]:
        """Newest first, those that ended too."""
        self._refresh()
        return sorted(self._kept.keys, key=lambda key: (-key.created, key.id))

    def create_key(
        self,
        name: str,
        *,
        role: str = "",
        scopes: Sequence[str] = (),
        expires_in: Millis = 0,
        by: str = "command line",
    ) -> tuple[KeptKey, str]:
        """A new key and the one text that it works with, which is not kept. Either a role or scopes."""
        if bool(role) == bool(scopes):
            raise InvalidRequest(
                "a key has either a role or scopes", where="role", remedy="give one of the two"
            )
        may = role_of(role) if role else None
        granted = names_of(ROLES[may] if may else bits(scopes))
        id_, now = secrets.token_hex(4), self._clock()
        text = f"{PREFIX}{id_}_{secrets.token_urlsafe(32)}"
        key = KeptKey(
            id_,
            name[:100],
            may or "",
            tuple(granted),
            _digest(text),
            now,
            by,
            now + expires_in if expires_in else 0,
        )
        self._change(lambda kept: msgspec.structs.replace(kept, keys=(*kept.keys, key)))
        return key, text

    def revoke_key(self, key_id: str) -> KeptKey:
        """From now on the key is refused; it stays in the list. Raises :class:`NotFound`. Revoking twice
        changes nothing."""
        known = {key.id: key for key in self.list_keys()}
        if key_id not in known:
            raise NotFound("no such key", seen=key_id, remedy="'opportune keys list' shows their ids")
        if known[key_id].revoked:
            return known[key_id]
        gone = msgspec.structs.replace(known[key_id], revoked=self._clock())
        self._change(
            lambda kept: msgspec.structs.replace(
                kept, keys=tuple(gone if key.id == key_id else key for key in kept.keys)
            )
        )
        return gone

    def list_users(self) -> list[User]:
        self._refresh()
        return sorted(self._kept.users, key=lambda user: user.name)

    def user(self, name: str) -> User | None:
        self._refresh()
        return next((user for user in self._kept.users if user.name == name), None)

    def set_user(self, name: str, role: str, password: str) -> User:
        """Add somebody, or give them another role and password: their sessions end."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                "a name has lower-case letters, digits and . _ @ -",
                seen=name,
                where="name",
                remedy="for example ada, or ada@example.org",
            )
        now = self._clock()
        before = self.user(name)
        user = User(name, role_of(role), hashed(password), before.created if before else now, now)
        self._change(
            lambda kept: msgspec.structs.replace(
                kept, users=(*(one for one in kept.users if one.name != name), user)
            )
        )
        return user

    def remove_user(self, name: str) -> None:
        """Raises :class:`NotFound`."""
        if self.user(name) is None:
            raise NotFound("nobody has this name", seen=name, remedy="'opportune users list' shows the names")
        self._change(
            lambda kept: msgspec.structs.replace(
                kept, users=tuple(one for one in kept.users if one.name != name)
            )
        )

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._take(Kept(), None)
            return
        seen = found.st_ino, found.st_mtime_ns, found.st_size
        if seen == self._seen:
            return
        try:
            self._take(_decode(self._path.read_bytes()), seen)
        except (OSError, msgspec.DecodeError) as error:
            raise StorageError(
                "cannot read the kept keys and users",
                where=str(self._path),
                remedy="restore the file, or remove it and make them again",
            ) from error

    def _take(self, kept: Kept, seen: tuple[int, int, int] | None) -> None:
        self._kept, self._seen = kept, seen
        self._by_digest = {key.digest: (key, _grant(key)) for key in kept.keys}

    def _change(self, change: Callable[[Kept], Kept]) -> None:
        """Read, change and write the whole file, one process at a time."""
        with self._locked():
            self._refresh()
            kept = change(self._kept)
            draft = self._folder / f".{FILE}.{os.getpid()}"
            with translated("keep keys and users", str(self._path), flush=True):
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(msgspec.json.format(msgspec.json.encode(kept)))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, self._path)
            self._refresh()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with translated("lock keys and users", str(self._path)):
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def role_of(name: str) -> Role:
    """A role by its name; raises :class:`InvalidRequest`."""
    try:
        return Role(name.strip().lower().replace(" ", "-").replace("_", "-"))
    except ValueError:
        raise InvalidRequest(
            "no such role", seen=name, where="role", remedy=f"one of {', '.join(Role)}"
        ) from None


def same(given: str, expected: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def _grant(key: KeptKey) -> Grant:
    scopes = bits(key.scopes)
    return Grant(scopes, f"key:{key.id}", is_public=names_of(scopes) == ["write"])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


_decode = msgspec.json.Decoder(Kept).decode
