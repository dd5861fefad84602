"""``access.yaml``: which OpenID provider says who somebody is, and which of its claims give which role."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from opportune.access.scopes import Role
from opportune.config.definitions import parse, read

FILE = "access.yaml"
SECRET_VARIABLE = "OPPORTUNE_OIDC_SECRET"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class RoleRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who gets a role. ``claim`` is the claim's name, or a path into nested claims (``realm_access.roles``).
    Either it is, or lists, ``value``; or it is an e-mail address at ``domain``, for which the provider must
    say ``email_verified``: an address that anybody may type in is no evidence."""

    role: Role
    claim: str
    value: str = ""
    domain: str = ""

    def __post_init__(self) -> None:
        if not self.claim or bool(self.value) == bool(self.domain):
            raise ValueError("a rule has a claim, and either a value or a domain")

    def holds(self, claims: Mapping[str, Any]) -> bool:
        found = claim_of(claims, self.claim)
        if self.domain:
            given = found.rpartition("@")[2] if isinstance(found, str) and "@" in found else ""
            return given.lower() == self.domain.lower() and claims.get("email_verified") is True
        return self.value in found if isinstance(found, list) else found == self.value


class OpenId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider. ``title`` stands on the button; ``name`` is the claim that names people in the audit log;
    ``public_url`` is where browsers reach this server, when a proxy stands before it. The client's secret is
    in the environment (``OPPORTUNE_OIDC_SECRET``) or in the file ``client_secret_file``, and not here."""

    issuer: str
    client_id: str
    title: str = "single sign-on"
    client_secret_file: str = ""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    name: str = "email"
    public_url: str = ""
    roles: tuple[RoleRule, ...] = ()

    def __post_init__(self) -> None:
        if not is_private(self.issuer):
            raise ValueError("the issuer must be an https address (http only on the loopback)")
        if self.public_url and urlsplit(self.public_url).scheme not in ("https", "http"):
            raise ValueError("public_url must be an address, for example https://shop.example.org")
        if not self.client_id or "openid" not in self.scopes:
            raise ValueError("there must be a client_id, and openid among the scopes")

    def role(self, claims: Mapping[str, Any]) -> Role | None:
        """The role of the first rule that holds; None when none does."""
        return next((rule.role for rule in self.roles if rule.holds(claims)), None)

    def stamp(self) -> str:
        """Changes with whatever decides who may come in: sessions from before it end."""
        told = msgspec.json.encode((self.issuer, self.client_id, self.roles))
        return hashlib.blake2b(told, digest_size=8).hexdigest()


class AccessRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Without ``oidc`` people sign in with a password or the secret key alone."""

    oidc: OpenId | None = None


def parse_access(text: str) -> AccessRules:
    """Read ``access.yaml``. Raises :class:`InvalidDefinition`."""
    return parse(text, AccessRules, name=FILE)


def load_access(workspace: Path | None) -> AccessRules:
    """The rules of a workspace; none where it has no such file. Raises :class:`InvalidDefinition`."""
    path = None if workspace is None else workspace / FILE
    return parse_access(read(path)) if path is not None and path.is_file() else AccessRules()


def client_secret(rules: OpenId, workspace: Path | None, environment: Mapping[str, str] | None = None) -> str:
    """The client's secret, empty for a public client (PKCE protects its code). Raises
    :class:`InvalidDefinition` when the file that is named cannot be read."""
    given = (os.environ if environment is None else environment).get(SECRET_VARIABLE, "")
    if given or not rules.client_secret_file:
        return given
    path = (workspace or Path()) / rules.client_secret_file
    return read(path).strip()


def claim_of(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, which may have dots in it, else by a path of names; None when there is none.

    >>> claim_of({"realm_access": {"roles": ["a"]}, "https://x.org/r": 1}, "realm_access.roles")
    ['a']
    """
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def is_private(address: str) -> bool:
    """Whether what is sent there is read by nobody on the way: HTTPS, or this machine itself."""
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        )
    except ValueError:
        return False
