"""Sign-in by OpenID Connect against a provider that lies in every way that the standard warns of."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("authlib", reason="sign-in by OpenID Connect needs the extra oidc")

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from tests.server.openid import KEY, OTHER, SECRET, Claims, FakeProvider, fake_provider, part, signed

from opportune.access.scopes import ROLES, Role
from opportune.access.sign_in import OpenId, RoleRule
from opportune.clock import MINUTE, FixedClock
from opportune.errors import Forbidden, InvalidRequest, OpportuneError, Overloaded, Unauthorized
from opportune.server.oidc import Provider, ProviderUnavailable
from opportune.server.oidc_pending import PendingSignIns

BACK = "https://shop.test/console/oidc/callback"
RULES = (
    RoleRule(Role.MARKETER, "groups", value="marketing"),
    RoleRule(Role.VIEWER, "email", domain="example.org"),
)


@pytest.fixture
def theirs() -> Iterator[FakeProvider]:
    with fake_provider() as provider:
        yield provider


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(int(time.time()) * 1_000)


def ours(theirs: FakeProvider, clock: FixedClock, secret: str = SECRET, **rules: Any) -> Provider:
    return Provider(OpenId(theirs.url, "opportune", roles=RULES, **rules), secret, clock)


def sign_in(provider: Provider, theirs: FakeProvider, clock: FixedClock) -> Any:
    pending = PendingSignIns("sk", clock).begin(BACK, "/")
    back = theirs.consent(provider.address(pending))
    assert back.startswith(BACK)
    assert f"state={pending.state}" in back
    return provider.finish(pending, back.partition("code=")[2].partition("&")[0])


def test_somebody_comes_in_with_the_role_of_their_claims(theirs: FakeProvider, clock: FixedClock) -> None:
    provider = ours(theirs, clock)
    visitor = sign_in(provider, theirs, clock)
    assert (visitor.name, visitor.subject, visitor.role) == ("ada@example.org", "subject-1", Role.VIEWER)
    assert (visitor.grant.who, visitor.grant.scopes) == ("oidc:ada@example.org", ROLES[Role.VIEWER])
    assert not visitor.grant.is_public
    assert provider.logout == f"{theirs.url}/logout"
    theirs.claims |= {"groups": ["marketing"]}
    assert sign_in(provider, theirs, clock).role is Role.MARKETER
    assert theirs.asked.count("/.well-known/openid-configuration") == 1, "kept for an hour"
    assert theirs.asked.count("/jwks") == 1
    clock.advance(61 * MINUTE)
    theirs.claims |= {"iat": clock() // 1_000, "exp": clock() // 1_000 + 60}
    sign_in(provider, theirs, clock)
    assert theirs.asked.count("/.well-known/openid-configuration") == 2
    assert SECRET not in repr(provider)


def test_a_client_secret_in_the_form_where_the_provider_wants_it_so(
    theirs: FakeProvider, clock: FixedClock
) -> None:
    theirs.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert sign_in(ours(theirs, clock), theirs, clock).role is Role.VIEWER


def test_claims_that_only_userinfo_has(theirs: FakeProvider, clock: FixedClock) -> None:
    theirs.userinfo = {"groups": ["marketing"], "email": "not@this.test"}
    visitor = sign_in(ours(theirs, clock), theirs, clock)
    assert (visitor.name, visitor.role) == ("ada@example.org", Role.MARKETER), "the token's own claims stand"
    theirs.userinfo = {"groups": ["marketing"], "sub": "somebody else"}
    assert sign_in(ours(theirs, clock), theirs, clock).role is Role.VIEWER
    theirs.answers["/userinfo"] = 500, b"<html>"
    assert sign_in(ours(theirs, clock), theirs, clock).role is Role.VIEWER


def unsigned(claims: Claims) -> str:
    return f"{part({'alg': 'none'})}.{part(claims)}."


def with_our_secret(claims: Claims) -> str:
    """A signature with what the client knows too, or with the provider's public key as the secret."""
    return jwt.encode({"alg": "HS256", "kid": "k1"}, claims, OctKey.import_key(SECRET * 2))


def with_public_key(claims: Claims) -> str:
    public = OctKey.import_key(KEY.as_pem(private=False).hex())
    return jwt.encode({"alg": "HS256", "kid": "k1"}, claims, public)


def by_another(claims: Claims) -> str:
    return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, OTHER)


def unknown_key(claims: Claims) -> str:
    return jwt.encode({"alg": "RS256", "kid": "k9"}, claims, OTHER)


def changed(claims: Claims) -> str:
    head, _, signature = signed(claims).split(".")
    return f"{head}.{part(claims | {'groups': ['marketing']})}.{signature}"


def own_key(claims: Claims) -> str:
    """Its key in its own header."""
    header = {"alg": "RS256", "kid": "k1", "jwk": OTHER.as_dict(private=False)}
    return jwt.encode(header, claims, OTHER)


def nonsense(claims: Claims) -> str:
    return "x.y.z"


@pytest.mark.parametrize(
    "sign",
    [
        unsigned,
        with_our_secret,
        with_public_key,
        by_another,
        unknown_key,
        changed,
        own_key,
        nonsense,
    ],
    ids=lambda sign: sign.__name__,
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_token_that_the_provider_did_not_sign(
    theirs: FakeProvider, clock: FixedClock, sign: Callable[[Claims], str]
) -> None:
    theirs.sign = sign
    with pytest.raises(Unauthorized, match="the provider's identity token does not hold"):
        sign_in(ours(theirs, clock), theirs, clock)


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"iss": "https://evil.test"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "another-client"}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": ["opportune", "another"], "azp": "another"}, "azp"),
        ({"nonce": "of another sign-in"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"exp": 1}, "expired"),
        ({"exp": "tomorrow"}, "exp"),
        ({"exp": None}, "exp"),
        ({"nbf": 9_999_999_999}, ""),
        ({"iat": 9_999_999_999}, "in the future"),
        ({"sub": 7}, ""),
        ({"sub": ""}, ""),
        ({"at_hash": "another-access-token"}, "at_hash"),
    ],
    ids=str,
)
def test_a_token_that_is_not_for_this(
    theirs: FakeProvider, clock: FixedClock, claims: Claims, named: str
) -> None:
    theirs.claims |= claims
    with pytest.raises(Unauthorized, match=r"identity token (does not hold|names nobody)") as caught:
        sign_in(ours(theirs, clock), theirs, clock)
    assert named in str(caught.value)


def test_the_hash_of_the_access_token_and_several_audiences(theirs: FakeProvider, clock: FixedClock) -> None:
    half = hashlib.sha256(b"the access token").digest()[:16]
    at_hash = base64.urlsafe_b64encode(half).decode().rstrip("=")
    theirs.claims |= {"at_hash": at_hash, "aud": ["opportune", "another"], "azp": "opportune"}
    assert sign_in(ours(theirs, clock), theirs, clock).role is Role.VIEWER


def test_an_expired_token(theirs: FakeProvider, clock: FixedClock) -> None:
    theirs.claims["exp"] = clock() // 1_000 - 59
    assert sign_in(ours(theirs, clock), theirs, clock).role is Role.VIEWER, "clocks differ a little"
    theirs.claims["exp"] = clock() // 1_000 - 61
    with pytest.raises(Unauthorized, match="does not hold"):
        sign_in(ours(theirs, clock), theirs, clock)


def test_the_provider_changes_its_keys(theirs: FakeProvider, clock: FixedClock) -> None:
    provider = ours(theirs, clock)
    sign_in(provider, theirs, clock)
    new = RSAKey.generate_key(2048, {"kid": "k2", "use": "sig"})
    theirs.keys = [KEY, new]
    theirs.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": "k2"}, claims, new)
    assert sign_in(provider, theirs, clock).role is Role.VIEWER
    assert theirs.asked.count("/jwks") == 2


def test_a_code_that_is_not_ours(theirs: FakeProvider, clock: FixedClock) -> None:
    provider, waiting = ours(theirs, clock), PendingSignIns("sk", clock)
    mine, other = waiting.begin(BACK, "/"), waiting.begin(BACK, "/")
    code = theirs.consent(provider.address(mine)).partition("code=")[2].partition("&")[0]
    with pytest.raises(Unauthorized, match="does not take its code back, saw 'invalid_grant'"):
        provider.finish(other, code)  # stolen: who has it has not the verifier
    with pytest.raises(Unauthorized, match="does not take its code back"):
        provider.finish(mine, code)  # used up
    for nonsense in ("", "x" * 5_000, "\x00\n", "é"):
        with pytest.raises(Unauthorized, match="does not take its code back"):
            provider.finish(mine, nonsense)
    with pytest.raises(Unauthorized, match="does not take its code back") as caught:
        sign_in(ours(theirs, clock, "not the secret"), theirs, clock)
    assert "not the secret" not in str(caught.value)


def test_nobody_without_a_role_comes_in(theirs: FakeProvider, clock: FixedClock) -> None:
    theirs.claims["email_verified"] = False
    with pytest.raises(Forbidden, match=r"have no role here, saw 'ada@example\.org'"):
        sign_in(ours(theirs, clock), theirs, clock)


def test_a_name_shows_what_it_is(theirs: FakeProvider, clock: FixedClock) -> None:
    theirs.claims |= {"groups": ["marketing"], "email": "a\n\u202eb" + "x" * 200}
    assert sign_in(ours(theirs, clock), theirs, clock).name == ("ab" + "x" * 200)[:100]
    del theirs.claims["email"]
    assert sign_in(ours(theirs, clock), theirs, clock).name == "subject-1"


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/.well-known/openid-configuration", (500, b"oops"), "does not answer as one, saw 500"),
        ("/.well-known/openid-configuration", (200, b"<html>"), "answer cannot be read"),
        ("/.well-known/openid-configuration", (302, b""), "does not answer as one, saw 302"),
        ("/.well-known/openid-configuration", (200, b'{"issuer": "x"}'), "answer cannot be read"),
        ("/jwks", (200, b'{"keys": [{}]}'), "its keys cannot be read"),
        ("/jwks", (200, b"[]"), "answer cannot be read"),
        ("/token", (200, b"<html>"), "its answer is not JSON"),
        ("/token", (503, b"<html>"), "does not answer as one"),
    ],
    ids=str,
)
def test_a_provider_that_is_broken(
    theirs: FakeProvider, clock: FixedClock, path: str, answer: tuple[int, bytes], message: str
) -> None:
    theirs.answers[path] = answer
    with pytest.raises(ProviderUnavailable) as caught:
        sign_in(ours(theirs, clock), theirs, clock)
    assert message in str(caught.value)
    assert caught.value.status == 503


def test_no_identity_token(theirs: FakeProvider, clock: FixedClock) -> None:
    theirs.answers["/token"] = 200, b'{"access_token": "a", "token_type": "Bearer"}'
    with pytest.raises(Unauthorized, match="the provider sent no identity token: allow the client the scope"):
        sign_in(ours(theirs, clock), theirs, clock)


def test_another_issuer_or_an_open_address_is_not_trusted(theirs: FakeProvider, clock: FixedClock) -> None:
    theirs.metadata = {"issuer": "https://evil.test"}
    with pytest.raises(ProviderUnavailable, match=r"\(another issuer\), saw 'https://evil.test'"):
        sign_in(ours(theirs, clock), theirs, clock)
    theirs.metadata = {"token_endpoint": "http://evil.test/token"}
    with pytest.raises(ProviderUnavailable, match="its token_endpoint is not https"):
        sign_in(ours(theirs, clock), theirs, clock)


def test_nobody_answers_there(theirs: FakeProvider, clock: FixedClock) -> None:
    provider = Provider(OpenId("http://127.0.0.1:9", "opportune", roles=RULES), "", clock)
    pending = PendingSignIns("sk", clock).begin(BACK, "/")
    with pytest.raises(ProviderUnavailable, match=r"does not answer as one \(ConnectError\)"):
        provider.address(pending)
    before = time.perf_counter()
    with pytest.raises(ProviderUnavailable, match="the secret key and passwords work as ever"):
        provider.address(pending)
    assert time.perf_counter() - before < 1, "nobody waits for it again so soon"


def test_only_a_few_at_once(theirs: FakeProvider, clock: FixedClock) -> None:
    provider = ours(theirs, clock)
    held = [provider._client(BACK) for _ in range(4)]
    for one in held:
        one.__enter__()
    with pytest.raises(Overloaded, match="too many people are signing in at this moment"):
        provider.address(PendingSignIns("sk", clock).begin(BACK, "/"))
    for one in held:
        one.__exit__(None, None, None)
    assert sign_in(provider, theirs, clock).role is Role.VIEWER


def test_a_sign_in_is_finished_where_and_when_it_was_begun(clock: FixedClock) -> None:
    from starlette.responses import Response

    waiting = PendingSignIns("sk", clock)
    pending = waiting.begin(BACK, "/people")
    response = Response()
    waiting.keep(pending, response, "/console/oidc", secure=True)
    cookie = response.headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=lax", "Secure", "Path=/console/oidc", "Max-Age=600"):
        assert attribute in cookie
    for secret in (pending.state, pending.nonce, pending.verifier):
        assert secret not in cookie
    sealed = cookie.partition("=")[2].partition(";")[0]
    assert waiting.take(sealed, pending.state) == pending
    assert PendingSignIns("sk", clock).take(sealed, pending.state) == pending, "by another process"
    wrong: list[tuple[PendingSignIns, str, str]] = [
        (waiting, sealed, "x"), (waiting, sealed, ""), (waiting, "", pending.state),
        (waiting, "é", pending.state), (PendingSignIns("other", clock), sealed, pending.state),
    ]  # fmt: skip
    for one, value, state in wrong:
        with pytest.raises(InvalidRequest, match="was not begun in this browser, or took too long"):
            one.take(value, state)
    clock.advance(10 * MINUTE)
    with pytest.raises(OpportuneError, match="took too long"):
        waiting.take(sealed, pending.state)
