"""An OpenID provider as the console sees it: authorization code flow with PKCE (OpenID Connect Core 1.0,
section 3.1; RFC 7636), through Authlib and joserfc.

Every call blocks on the network, so it runs in a thread, a few at once; what the provider says about itself
and its keys are kept for an hour.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from opportune.access.scopes import ROLES, Grant, Role
from opportune.access.sign_in import OpenId, claim_of, is_private
from opportune.clock import HOUR, SECOND, Clock, Millis
from opportune.errors import Forbidden, NotInstalled, OpportuneError, Overloaded, Unauthorized

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519",
)  # fmt: skip
"""Signatures that only the provider can make: no ``none``, and none with a secret that is shared."""
DISCOVERY = "/.well-known/openid-configuration"
WHO = "oidc:"
TIMEOUT_S = 5.0
AT_ONCE = 4
KEPT: Millis = HOUR
PAUSE: Millis = 5 * SECOND
"""After a failure to read what the provider says about itself, nobody asks it again for so long."""
LEEWAY_S = 60
"""By how much its clock and ours may differ."""


class ProviderUnavailable(OpportuneError):
    """The provider does not answer, or not as one: nothing that the client did."""

    status = 503
    code = "provider_unavailable"


class Pending(msgspec.Struct, array_like=True, frozen=True):
    """A sign-in on its way: what the provider must say back, and what only we know until then."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    following: str
    until: Millis


class Visitor(msgspec.Struct, frozen=True):
    """Who the provider says it is, and the role that gives them."""

    name: str
    subject: str
    role: Role

    @property
    def grant(self) -> Grant:
        return Grant(ROLES[self.role], f"{WHO}{self.name}")


class _Metadata(msgspec.Struct):
    """What we use of OpenID Connect Discovery 1.0, section 3."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Provider:
    """``address`` sends somebody there, ``finish`` says who came back. Raises :class:`NotInstalled` without
    the extra ``oidc``."""

    def __init__(self, rules: OpenId, secret: str, clock: Clock) -> None:
        try:
            import authlib.integrations.httpx_client  # noqa: F401  # whether it is there: at the start
            import httpx2
        except ImportError as error:
            raise NotInstalled(
                "sign-in by OpenID Connect needs Authlib", remedy="pip install 'opportune[oidc]'"
            ) from error
        self.rules = rules
        self._secret = secret
        self._clock = clock
        self._tls = httpx2.create_ssl_context()  # 20 ms, so once
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._reading = threading.Lock()
        self._metadata: _Metadata | None = None
        self._keys: Any = None
        self._until: Millis = 0
        self._failed: tuple[Millis, str] = (0, "")

    def __repr__(self) -> str:
        return f"Provider({self.rules.issuer!r})"

    @property
    def logout(self) -> str:
        """Where somebody signs out of the provider too, once it is known; empty when it has no such page."""
        return "" if self._metadata is None else self._metadata.end_session_endpoint

    def address(self, pending: Pending) -> str:
        """Where to send the browser. Raises :class:`ProviderUnavailable`, :class:`Overloaded`."""
        with self._client(pending.redirect_uri) as client:
            found = self._known(client)
            address, _ = client.create_authorization_url(
                found.authorization_endpoint,
                state=pending.state,
                nonce=pending.nonce,
                code_verifier=pending.verifier,
            )
        return str(address)

    def finish(self, pending: Pending, code: str) -> Visitor:
        """Exchange the code for the token of identity, and check all of it. Raises :class:`Unauthorized` for
        a code or a token that does not hold, :class:`Forbidden` for somebody without a role,
        :class:`ProviderUnavailable`, :class:`Overloaded`."""
        with self._client(pending.redirect_uri) as client:
            found = self._known(client)
            if self._secret and "client_secret_basic" not in found.token_endpoint_auth_methods_supported:
                client.token_endpoint_auth_method = "client_secret_post"
            tokens = self._exchanged(client, found, pending, code)
            claims = self._claims(client, found, tokens, pending.nonce)
            missing = [rule.claim for rule in self.rules.roles if claim_of(claims, rule.claim) is None]
            if found.userinfo_endpoint and (missing or claim_of(claims, self.rules.name) is None):
                claims = {**self._more(client, found, claims["sub"], tokens), **claims}
        name = _named(claims, self.rules.name)
        role = self.rules.role(claims)
        if role is None:
            raise Forbidden(
                "you are who you say, and have no role here",
                seen=name,
                remedy="ask an administrator for a role: access.yaml says which claims give one",
            )
        return Visitor(name, str(claims["sub"])[:255], role)

    @contextmanager
    def _client(self, redirect_uri: str) -> Iterator[Any]:
        import httpx2
        from authlib.integrations.httpx_client import OAuth2Client

        if not self._room.acquire(blocking=False):
            raise Overloaded("too many people are signing in at this moment", retry_after_s=2)
        try:
            with OAuth2Client(
                client_id=self.rules.client_id,
                client_secret=self._secret or None,
                scope=" ".join(self.rules.scopes),
                redirect_uri=redirect_uri,
                code_challenge_method="S256",
                timeout=TIMEOUT_S,
                verify=self._tls,
            ) as client:
                yield client
        except httpx2.HTTPError as error:
            raise self._silent(type(error).__name__) from error
        finally:
            self._room.release()

    def _known(self, client: Any) -> _Metadata:
        """What the provider says about itself, and its keys: read once an hour, by one at a time."""
        with self._reading:
            now = self._clock()
            if self._metadata is not None and now < self._until:
                return self._metadata
            if now < self._failed[0]:
                raise self._silent(self._failed[1])
            try:
                found: _Metadata = _read(client, self.rules.issuer.rstrip("/") + DISCOVERY, _Metadata)
                self._check(found)
                self._keys = self._key_set(client, found.jwks_uri)
            except Exception as error:
                self._failed = now + PAUSE, type(error).__name__
                raise
            self._metadata, self._until = found, now + KEPT
            return found

    def _check(self, found: _Metadata) -> None:
        if found.issuer != self.rules.issuer:
            raise self._silent("another issuer", seen=found.issuer)
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
            address = getattr(found, name)
            if address and not is_private(address):
                raise self._silent(f"its {name} is not https", seen=address)

    def _key_set(self, client: Any, address: str) -> Any:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            return KeySet.import_key_set(_read(client, address, dict[str, Any]))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise self._silent("its keys cannot be read") from error

    def _exchanged(self, client: Any, found: _Metadata, pending: Pending, code: str) -> dict[str, Any]:
        from authlib.common.errors import AuthlibBaseError

        try:
            tokens = client.fetch_token(
                found.token_endpoint,
                code=code,
                grant_type="authorization_code",
                code_verifier=pending.verifier,
            )
        except AuthlibBaseError as error:
            raise Unauthorized(
                "the provider does not take its code back",
                seen=error.error,
                remedy="sign in again; if it stays so, check client_id, secret and redirect address there",
            ) from error
        except ValueError as error:
            raise self._silent("its answer is not JSON") from error
        return dict(tokens)

    def _claims(self, client: Any, found: _Metadata, tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """The claims of the identity token, once its signature, issuer, audience, times and nonce hold."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError, JoseError

        text = tokens.get("id_token")
        if not isinstance(text, str):
            raise Unauthorized(
                "the provider sent no identity token", remedy="allow the client the scope openid"
            )
        try:
            try:
                token = jwt.decode(text, self._keys, algorithms=list(ALGORITHMS))
            except InvalidKeyIdError:  # it has changed its keys since
                self._keys = self._key_set(client, found.jwks_uri)
                token = jwt.decode(text, self._keys, algorithms=list(ALGORITHMS))
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self.rules.issuer},
                    "aud": {"essential": True, "value": self.rules.client_id},
                },
                {"client_id": self.rules.client_id, "nonce": nonce, **_access_token(tokens)},
            )
            claims.validate(now=self._clock() // 1_000, leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError) as error:
            raise Unauthorized(
                "the provider's identity token does not hold",
                seen=str(getattr(error, "description", "") or error)[:120],
                remedy="sign in again; if it stays so, check issuer, client_id and both clocks",
            ) from error
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise Unauthorized("the provider's identity token names nobody", remedy="sign in again")
        return dict(claims)

    def _more(self, client: Any, found: _Metadata, subject: str, tokens: Mapping[str, Any]) -> dict[str, Any]:
        """The claims of the userinfo endpoint, where the identity token lacks some; those of somebody else
        are not taken (section 5.3.2)."""
        headers = {"authorization": f"Bearer {tokens.get('access_token', '')}"}
        answer = client.request("GET", found.userinfo_endpoint, headers=headers, withhold_token=True)
        try:
            told = msgspec.json.decode(answer.content, type=dict[str, Any])
        except msgspec.DecodeError:
            return {}
        return told if answer.status_code == 200 and told.get("sub") == subject else {}

    def _silent(self, why: str, **seen: str) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"the sign-in provider does not answer as one ({why})",
            where=self.rules.issuer,
            remedy="try again in a moment; the secret key and passwords work as ever",
            **seen,
        )


def _read(client: Any, address: str, shape: Any) -> Any:
    """A JSON document of the provider. Raises :class:`ProviderUnavailable`."""
    answer = client.request("GET", address, withhold_token=True)
    if answer.status_code != 200:
        raise ProviderUnavailable(
            "the sign-in provider does not answer as one",
            seen=answer.status_code,
            where=address,
            remedy="check the issuer in access.yaml",
        )
    try:
        return msgspec.json.decode(answer.content, type=shape)
    except msgspec.DecodeError as error:
        raise ProviderUnavailable(
            "the sign-in provider's answer cannot be read",
            seen=str(error),
            where=address,
            remedy="check the issuer in access.yaml",
        ) from error


def _access_token(tokens: Mapping[str, Any]) -> dict[str, Any]:
    token = tokens.get("access_token")
    return {"access_token": token} if isinstance(token, str) else {}


def _named(claims: Mapping[str, Any], claim: str) -> str:
    """What to call somebody: printable, and never so long that it hides something."""
    found = claim_of(claims, claim) or claims.get("preferred_username") or claims["sub"]
    return "".join(c for c in str(found) if c.isprintable())[:100] or "unnamed"
