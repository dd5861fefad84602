"""The keys that come with a request: a public write key for capture and decisions, a secret key for
everything, and the keys of the roster in between."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import msgspec

from opportune.access.roster import Roster
from opportune.access.scopes import SECRET_GRANT, WRITE_GRANT, Grant
from opportune.errors import InvalidDefinition, StorageError

WRITE_KEY_VARIABLE = "OPPORTUNE_WRITE_KEY"
SECRET_KEY_VARIABLE = "OPPORTUNE_SECRET_KEY"
KEYS_FILE = "keys.json"


class Keys(msgspec.Struct, frozen=True):
    """The two keys that every folder has, and the others. The write key is public (it is in the page), the
    secret key is not.

    ``source`` is what events that come in under these keys are accounted as. ``generated`` is true when this
    start made the keys, which is the one time that the secret is shown.
    """

    write: str
    secret: str
    source: str = "default"
    generated: bool = False
    roster: Roster | None = None

    def __repr__(self) -> str:
        return f"Keys(write={self.write!r}, secret=<hidden>, source={self.source!r})"

    def grant(self, presented: str) -> Grant | None:
        """What ``presented`` allows, None for an unknown key; compared in constant time. Raises
        :class:`Unauthorized` for a key that has ended."""
        given = presented.encode("utf-8", "surrogateescape")
        if hmac.compare_digest(given, self.write.encode()):
            return WRITE_GRANT
        if hmac.compare_digest(given, self.secret.encode()):
            return SECRET_GRANT
        return None if self.roster is None else self.roster.grant(presented)

    def header_grant(self, authorization: bytes) -> Grant | None:
        """``Basic b64(key:)``, ``Basic b64(key)`` and ``Bearer key``; anything else allows nothing."""
        if authorization in _with_write_key(self.write):
            return WRITE_GRANT
        scheme, _, value = authorization.partition(b" ")
        scheme = scheme.lower()
        if scheme == b"basic":
            try:
                decoded = base64.b64decode(value, validate=False)
            except binascii.Error:
                return None
            return self.grant(decoded.partition(b":")[0].decode("latin-1"))
        if scheme == b"bearer":
            return self.grant(value.strip().decode("latin-1"))
        return None


@lru_cache(maxsize=64)
def _with_write_key(write: str) -> frozenset[bytes]:
    """The headers that most requests carry. The write key is public, so time may tell how much of it fits."""
    key = write.encode()
    encoded = [base64.b64encode(key + b":"), base64.b64encode(key)]
    return frozenset([b"Bearer " + key, *[b"Basic " + one for one in encoded]])


def load_keys(folder: Path, environment: Mapping[str, str] | None = None) -> Keys:
    """Keys from the environment, else from the data folder, else made now and kept there (mode 0600)."""
    environment = os.environ if environment is None else environment
    write = environment.get(WRITE_KEY_VARIABLE, "")
    secret = environment.get(SECRET_KEY_VARIABLE, "")
    roster = Roster(folder)
    if write and secret:
        return _checked(Keys(write=write, secret=secret, roster=roster))
    kept = _kept(folder / KEYS_FILE)
    generated = kept is None
    if kept is None:
        kept = Keys(write=f"wk_{secrets.token_urlsafe(18)}", secret=f"sk_{secrets.token_urlsafe(32)}")
        _keep(folder, kept)
    return _checked(
        Keys(
            write=write or kept.write,
            secret=secret or kept.secret,
            generated=generated and not secret,
            roster=roster,
        )
    )


def _checked(keys: Keys) -> Keys:
    for name, value in ((WRITE_KEY_VARIABLE, keys.write), (SECRET_KEY_VARIABLE, keys.secret)):
        if not value.isascii() or not value.isprintable() or ":" in value or " " in value:
            raise InvalidDefinition(
                "a key has characters that cannot travel in an Authorization header",
                where=name,
                remedy="use letters, digits, - and _",
            )
    if hmac.compare_digest(keys.write, keys.secret):
        raise InvalidDefinition(
            "the write key and the secret key are the same",
            where=SECRET_KEY_VARIABLE,
            remedy="the write key is public: choose another secret key",
        )
    return keys


def _kept(path: Path) -> Keys | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Keys(write=str(data["write"]), secret=str(data["secret"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            "cannot read the kept keys",
            where=str(path),
            remedy="restore the file, or remove it to have new keys made",
        ) from error


def _keep(folder: Path, keys: Keys) -> None:
    """Written whole and renamed, so that a crash leaves the file complete or absent."""
    path = folder / KEYS_FILE
    draft = folder / f".{KEYS_FILE}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"write": keys.write, "secret": keys.secret}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise StorageError(
            f"cannot keep the keys ({error.strerror})",
            where=str(path),
            remedy="make the data folder writable",
        ) from error
