from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response

from opportune.clock import HOUR, FixedClock
from opportune.errors import Forbidden, Unauthorized
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
    Sessions(KEYS, clock).sign_in("sk", response, secure=True)
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for attribute in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", "Max-Age=43200"):
        assert attribute in cookie
    assert "sk" not in cookie.partition(";")[0].partition("=")[2].split(".")


@pytest.mark.parametrize("key", ["wk", "", "wrong"])
def test_only_the_secret_key_signs_in(key: str) -> None:
    response = Response()
    with pytest.raises(Unauthorized, match="this is not the secret key"):
        Sessions(KEYS).sign_in(key, response, secure=False)
    assert "set-cookie" not in response.headers


def test_a_session_ends() -> None:
    clock = FixedClock()
    sessions = Sessions(KEYS, clock)
    value = sessions.issue()
    clock.advance(12 * HOUR - 1)
    assert sessions.valid(value)
    clock.advance(1)
    assert not sessions.valid(value)


def test_a_changed_cookie_is_worth_nothing() -> None:
    sessions = Sessions(KEYS)
    value = sessions.issue()
    end, nonce, signature = value.split(".")
    forged = [
        f"{int(end) + 1}.{nonce}.{signature}",
        f"{end}.{nonce}x.{signature}",
        f"{end}.{nonce}.{signature[:-1]}",
        f"{end}.{nonce}.",
        f"{end}.{nonce}",
        "",
        ".",
        "..",
        "x.y.z",
        "é.é.é",
    ]
    assert not any(sessions.valid(one) for one in forged)
    assert sessions.valid(value)


def test_another_secret_key_ends_every_session() -> None:
    value = Sessions(KEYS).issue()
    assert not Sessions(Keys(write="wk", secret="new")).valid(value)


def test_signed_in_by_cookie_or_by_key() -> None:
    sessions = Sessions(KEYS)
    assert sessions.signed_in(request(sessions.issue()))
    assert sessions.signed_in(request(authorization="Bearer sk"))
    assert not sessions.signed_in(request(authorization="Bearer wk"))
    with pytest.raises(Unauthorized, match="not signed in: sign in with the secret key"):
        sessions.require(request())
    sessions.require(request(sessions.issue()))


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
