from __future__ import annotations

from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from opportune.access.roster import Roster
from opportune.clock import HOUR, FixedClock
from opportune.errors import Forbidden, Overloaded, Unauthorized
from opportune.server.auth import Keys
from opportune.server.sessions import COOKIE, Sessions

KEYS = Keys(write="wk", secret="sk")


def request(cookie: str = "", authorization: str = "") -> Request:
    headers = []
    if cookie:
        headers.append((b"cookie", f"{COOKIE}={cookie}".encode()))
    if authorization:
        headers.append((b"authorization", authorization.encode()))
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b""})


def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use() -> None:
    clock = FixedClock()
    response = Response()
    sessions = Sessions(KEYS, clock, {})
    sessions.sign_in(sessions.check("", "sk"), response, secure=True)
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for attribute in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", "Max-Age=43200"):
        assert attribute in cookie
    assert "sk" not in cookie.partition(";")[0].partition("=")[2].split(".")


@pytest.mark.parametrize("key", ["wk", "", "wrong"])
def test_only_the_secret_key_signs_in(key: str) -> None:
    with pytest.raises(Unauthorized, match="this is not the secret key"):
        Sessions(KEYS).check("", key)


def test_a_session_ends() -> None:
    clock = FixedClock()
    sessions = Sessions(KEYS, clock)
    value = sessions.issue()
    clock.advance(12 * HOUR - 1)
    assert sessions.grant_of(value)
    clock.advance(1)
    assert not sessions.grant_of(value)


def test_a_changed_cookie_is_worth_nothing() -> None:
    sessions = Sessions(KEYS)
    value = sessions.issue()
    end, nonce, who, signature = value.split(".")
    forged = [
        f"{int(end) + 1}.{nonce}.{who}.{signature}",
        f"{end}.{nonce}x.{who}.{signature}",
        f"{end}.{nonce}.{who}x.{signature}",
        f"{end}.{nonce}.{who}.{signature[:-1]}",
        f"{end}.{nonce}.{who}.",
        f"{end}.{nonce}.{who}",
        f"{end}.{nonce}.{signature}",
        "",
        ".",
        "..",
        "x.y.z",
        "é.é.é",
    ]
    assert not any(sessions.grant_of(one) for one in forged)
    assert sessions.grant_of(value)


def test_another_secret_key_ends_every_session() -> None:
    value = Sessions(KEYS).issue()
    assert not Sessions(Keys(write="wk", secret="new")).grant_of(value)


def test_signed_in_by_cookie_or_by_key() -> None:
    sessions = Sessions(KEYS)
    assert sessions.visitor(request(sessions.issue()))
    assert sessions.visitor(request(authorization="Bearer sk"))
    assert not sessions.visitor(request(authorization="Bearer wk"))
    with pytest.raises(Unauthorized, match="not signed in: sign in with the secret key"):
        sessions.require(request(), "reports")
    sessions.require(request(sessions.issue()), "administer")


def test_forms_carry_a_token_of_their_session() -> None:
    sessions = Sessions(KEYS)
    mine, other = request(sessions.issue()), request(sessions.issue())
    token = sessions.csrf_token(mine)
    sessions.require_csrf(mine, token)
    for wrong in ("", "x", sessions.csrf_token(other)):
        with pytest.raises(Forbidden, match="this form is from another session"):
            sessions.require_csrf(mine, wrong)
    sessions.require_csrf(request(authorization="Bearer sk"), "")


def test_signing_out_removes_the_cookie() -> None:
    response = Response()
    Sessions(KEYS).sign_out(response)
    assert "Max-Age=0" in response.headers["set-cookie"]


PASSWORD = "a sentence nobody guesses"


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    roster = Roster(tmp_path)
    roster.set_user("ada", "analyst", PASSWORD)
    return roster


def named(roster: Roster, clock: FixedClock, **environment: str) -> Sessions:
    return Sessions(Keys(write="wk", secret="sk", roster=roster), clock, environment)


def test_signing_in_by_name_in_a_role(roster: Roster) -> None:
    sessions = named(roster, FixedClock())
    assert sessions.has_names
    grant = sessions.check("ada", PASSWORD)
    cookie = sessions.issue(grant)
    assert sessions.grant_of(cookie) == grant
    assert grant.who == "user:ada"
    sessions.require(request(cookie), "people")
    with pytest.raises(Forbidden, match="this needs the scope administer: ask an administrator"):
        sessions.require(request(cookie), "administer")
    for name, password in (("ada", "wrong"), ("eve", PASSWORD), ("ada", "")):
        with pytest.raises(Unauthorized, match="name and password do not belong together: try again"):
            sessions.check(name, password)


@pytest.mark.parametrize("end", ["removed", "another role"])
def test_a_users_sessions_end_with_the_user(roster: Roster, end: str) -> None:
    sessions = named(roster, FixedClock())
    cookie = sessions.issue(sessions.check("ada", PASSWORD))
    if end == "removed":
        roster.remove_user("ada")
    else:
        roster.set_user("ada", "viewer", PASSWORD)
    assert sessions.grant_of(cookie) is None


def test_guessing_gets_slow(roster: Roster) -> None:
    clock = FixedClock()
    sessions = named(roster, clock, OPPORTUNE_CONSOLE_PASSWORD="the owner's own sentence")
    for _ in range(5):
        with pytest.raises(Unauthorized):
            sessions.check("admin", "wrong")
    with pytest.raises(Overloaded, match="too many wrong passwords for this name: retry after 31 s"):
        sessions.check("admin", "the owner's own sentence")
    clock.advance(30_000)
    assert sessions.check("admin", "the owner's own sentence").who == "user:admin"


def test_another_console_password_ends_its_sessions(roster: Roster) -> None:
    clock = FixedClock()
    sessions = named(roster, clock, OPPORTUNE_CONSOLE_PASSWORD="one sentence")
    cookie = sessions.issue(sessions.check("admin", "one sentence"))
    assert sessions.grant_of(cookie) is not None
    assert named(roster, clock, OPPORTUNE_CONSOLE_PASSWORD="another").grant_of(cookie) is None
    assert named(roster, clock).grant_of(cookie) is None
