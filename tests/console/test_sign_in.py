"""Signing in to the console by an OpenID provider: one that others wrote, and one that lies."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("authlib", reason="sign-in by OpenID Connect needs the extra oidc")

from tests.console.openid_mock import mock_provider
from tests.demo.asgi import Client
from tests.server.openid import SECRET, FakeProvider, fake_provider

from opportune import Engine
from opportune.access.audit import AuditLog
from opportune.access.scopes import Role
from opportune.access.sign_in import OpenId, RoleRule
from opportune.clock import HOUR, FixedClock
from opportune.console import create_console
from opportune.server.auth import Keys
from opportune.server.oidc import Provider
from opportune.server.oidc_pending import COOKIE as PENDING
from opportune.server.sessions import COOKIE, Sessions

KEYS = Keys(write="wk", secret="sk")
RULES = (
    RoleRule(Role.ADMINISTRATOR, "groups", value="shop-admins"),
    RoleRule(Role.VIEWER, "email", domain="example.org"),
)


class Desk:
    """A console whose people come from one provider, and its audit log."""

    def __init__(self, engine: Engine, folder: Path, issuer: str, secret: str) -> None:
        self.clock = FixedClock(int(time.time()) * 1_000)
        self.audit = AuditLog(folder / "log")
        self._engine = engine
        self.provider = Provider(OpenId(issuer, "opportune", "Example", roles=RULES), secret, self.clock)
        self.visitor = self.fresh()

    def fresh(self, provider: Provider | None = None) -> Client:
        """Another browser, perhaps after a restart with other rules."""
        sessions = Sessions(KEYS, self.clock, {}, provider or self.provider)
        return Client(create_console(self._engine, sessions, audit=self.audit), root_path="/console")

    def start(self, following: str = "") -> str:
        answer = self.visitor.get(f"/console/oidc/start?next={following}")
        assert answer.status_code == 303
        return answer.headers["location"]

    def noted(self) -> list[tuple[str, str, str]]:
        return [(one.who, one.did, one.what.get("why", "")) for one in self.audit.newest()]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(tmp_path / "data") as engine:
        yield engine


@pytest.fixture
def theirs() -> Iterator[FakeProvider]:
    with fake_provider() as provider:
        yield provider


@pytest.fixture
def desk(engine: Engine, tmp_path: Path, theirs: FakeProvider) -> Desk:
    return Desk(engine, tmp_path, theirs.url, SECRET)


@pytest.mark.skipif(
    importlib.util.find_spec("oidc_provider_mock") is None, reason="needs the package oidc-provider-mock"
)
def test_a_provider_that_others_wrote(engine: Engine, tmp_path: Path) -> None:
    with mock_provider() as issuer, httpx.Client() as browser:
        desk = Desk(engine, tmp_path, issuer, "any secret")
        page = desk.visitor.get("/console/login?next=/console/access")
        assert "Sign in with Example" in page.text
        (start,) = re.findall(r'href="(/console/oidc/start[^"]*)"', page.text)
        asked = desk.visitor.get(start)
        assert asked.headers["location"].startswith(f"{issuer}/oauth2/authorize?")
        back = browser.post(asked.headers["location"], data={"sub": "ada"}).headers["location"]
        assert back.startswith("http://shop.test/console/oidc/callback?code=")
        landed = desk.visitor.get(back)
        assert landed.status_code == 200
        assert '<meta http-equiv="refresh" content="0;url=/console/access">' in landed.text
        cookie = next(c for c in landed.headers.get_list("set-cookie") if c.startswith(COOKIE))
        for attribute in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
            assert attribute in cookie
        assert desk.visitor.get("/console/access").status_code == 200
        assert desk.noted()[0][:2] == ("oidc:ada@example.org", "sign-in")
        again = desk.visitor.get(back)
        assert (again.status_code, "was not begun in this browser" in again.text) == (400, True)

        eve = desk.fresh()
        location = eve.get("/console/oidc/start").headers["location"]
        refused = eve.get(browser.post(location, data={"sub": "eve"}).headers["location"])
        assert refused.status_code == 403
        assert "you are who you say, and have no role here" in refused.text
        assert "eve@elsewhere.test" in refused.text
        assert eve.get("/console/").status_code == 303
        assert desk.noted()[0][:2] == ("nobody", "sign-in.refused")


def test_the_session_is_that_of_the_role_and_ends(desk: Desk, theirs: FakeProvider) -> None:
    desk.visitor.get(theirs.consent(desk.start()))
    assert desk.visitor.get("/console/").status_code == 200
    assert desk.visitor.get("/console/access").status_code == 403, "a viewer"
    kept = str(desk.visitor.cookies.get(COOKIE))
    token = re.search(r'name="csrf" value="([^"]+)"', desk.visitor.get("/console/").text)
    assert token is not None
    assert desk.visitor.post("/console/logout", {"csrf": "x"}).status_code == 403
    assert desk.visitor.post("/console/logout", {"csrf": token[1]}).status_code == 303
    assert desk.visitor.get("/console/").status_code == 303
    assert f'href="{theirs.url}/logout"' in desk.visitor.get("/console/login").text
    sessions = Sessions(KEYS, desk.clock, {}, desk.provider)
    assert sessions.grant_of(kept) is not None
    assert Sessions(KEYS, desk.clock, {}).grant_of(kept) is None, "no provider any more"
    stricter = Provider(OpenId(theirs.url, "opportune", roles=RULES[:1]), SECRET, desk.clock)
    assert Sessions(KEYS, desk.clock, {}, stricter).grant_of(kept) is None, "roles are given otherwise"
    desk.clock.advance(12 * HOUR)
    assert sessions.grant_of(kept) is None


def test_nobody_raises_their_own_role(desk: Desk, theirs: FakeProvider) -> None:
    import base64

    desk.visitor.get(theirs.consent(desk.start()))
    end, nonce, who, signature = str(desk.visitor.cookies.get(COOKIE)).split(".")
    told = base64.urlsafe_b64decode(who + "=" * (-len(who) % 4)).decode()
    assert told.endswith(":oidc:ada@example.org")
    more = base64.urlsafe_b64encode(b"1023:oidc:ada@example.org").decode().rstrip("=")
    sessions = Sessions(KEYS, desk.clock, {}, desk.provider)
    assert sessions.grant_of(f"{end}.{nonce}.{who}.{signature}") is not None
    assert sessions.grant_of(f"{end}.{nonce}.{more}.{signature}") is None


def test_what_a_browser_sends_is_never_our_fault(desk: Desk, theirs: FakeProvider) -> None:
    good = theirs.consent(desk.start())
    state = good.partition("state=")[2]
    for query, status in {
        "": 400,
        "?state=x&code=y": 400,
        f"?code=y&state={state}x": 400,
        "?error=access_denied": 400,
        "?state=%00&code=%ff": 400,
        "?state=" + "x" * 9_000: 400,
    }.items():
        answer = desk.visitor.get(f"/console/oidc/callback{query}")
        assert (answer.status_code, "was not begun in this browser" in answer.text) == (status, True), query
        desk.start()  # the cookie of the one before was taken back
    for more, status, said in (
        ("&code=stolen", 401, "does not take its code back"),
        ("", 401, "does not take its code back"),
        ("&error=access_denied", 401, "the provider did not sign you in"),
        ("&code=x&iss=https://evil.test", 400, "another provider answers than was asked"),
    ):
        state = theirs.consent(desk.start()).partition("state=")[2]
        answer = desk.visitor.get(f"/console/oidc/callback?state={state}{more}")
        assert (answer.status_code, said in answer.text) == (status, True), more
    assert {who for who, _, _ in desk.noted()} == {"nobody"}
    assert desk.visitor.get("/console/").status_code == 303
    with_two = desk.fresh()
    with_two.cookies.set(PENDING, "x" * 3_000)
    assert with_two.get(f"/console/oidc/callback?state={state}").status_code == 400


@pytest.mark.parametrize("following", ["//evil.test", "https://evil.test", "/elsewhere", "/console/\\evil"])
def test_signing_in_leads_nowhere_else(desk: Desk, theirs: FakeProvider, following: str) -> None:
    landed = desk.visitor.get(theirs.consent(desk.start(following)))
    assert 'content="0;url=/console/"' in landed.text
    assert "evil" not in landed.text


def test_a_provider_that_does_not_answer_leaves_the_other_ways_in(desk: Desk, theirs: FakeProvider) -> None:
    theirs.answers["/.well-known/openid-configuration"] = 500, b""
    page = desk.visitor.get("/console/oidc/start")
    assert page.status_code == 503
    assert "the sign-in provider does not answer as one" in page.text
    assert 'name="key"' in page.text
    assert desk.visitor.post("/console/login", {"key": "sk"}).status_code == 303


def test_secrets_are_in_no_log_and_on_no_page(
    desk: Desk, theirs: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        landed = desk.visitor.get(theirs.consent(desk.start()))
        theirs.claims["nonce"] = "wrong"
        refused = desk.visitor.get(theirs.consent(desk.start()))
    assert refused.status_code == 401
    told = caplog.text + landed.text + refused.text + desk.audit._path.read_text()
    for secret in (SECRET, "the access token", "eyJ"):
        assert secret not in told


def test_administrators_see_which_claims_give_which_role(desk: Desk, theirs: FakeProvider) -> None:
    theirs.claims["groups"] = ["shop-admins"]
    desk.visitor.get(theirs.consent(desk.start()))
    page = desk.visitor.get("/console/access").text
    assert "People whom Example knows" in page
    assert "a verified address at example.org" in page
    assert SECRET not in page
    told = desk.visitor.get("/console/access.json").json()["provider"]
    assert [rule["role"] for rule in told["roles"]] == ["administrator", "viewer"]


def test_without_a_provider_there_is_no_such_page(desk: Desk) -> None:
    sessions = Sessions(KEYS, desk.clock, {})
    plain = Client(create_console(desk._engine, sessions))
    assert "oidc" not in plain.get("/login").text
    for path in ("/oidc/start", "/oidc/callback"):
        answer = plain.get(path)
        assert (answer.status_code, "nobody signs in here by OpenID Connect" in answer.text) == (404, True)
