"""Every route and every page, with every role, and without a good key: made from the tables of routes, so
that a route that is added is tried too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from starlette.routing import Route as Page
from tests.demo.asgi import Client
from tests.server.conftest import KEYS, RunningServer

from opportune import Engine
from opportune.access.audit import AuditLog
from opportune.access.roster import Roster
from opportune.access.scopes import ROLES, SCOPES, Access, Grant, Role
from opportune.access.sign_in import OpenId
from opportune.clock import DAY, FixedClock
from opportune.console import create_console
from opportune.server.auth import Keys
from opportune.server.openapi import plain_path
from opportune.server.routes import ROUTES, Route
from opportune.server.sessions import COOKIE, Sessions

ENDED = ("none", "wrong", "expired", "revoked", "elsewhere")
"""``elsewhere`` is an administrator's key of another workspace."""


class Known:
    """A provider that is never asked: it only stands behind sessions that it began."""

    logout = ""

    def __init__(self, rules: OpenId) -> None:
        self.rules = rules


class Holders:
    """One key of every role, of every scope alone, and the ones that are no good."""

    def __init__(self, folder: Path) -> None:
        self.clock = clock = FixedClock()
        self.roster = Roster(folder, clock)
        self.keys = {role.value: self.roster.create_key("", role=role)[1] for role in Role}
        self.keys |= {name: self.roster.create_key("", scopes=[name])[1] for name in SCOPES}
        self.keys["expired"] = self.roster.create_key("", role="administrator", expires_in=DAY)[1]
        clock.advance(DAY)
        gone, self.keys["revoked"] = self.roster.create_key("", role="administrator")
        self.roster.revoke_key(gone.id)
        self.keys |= {"wrong": "ok_00000000_" + "x" * 43, "none": ""}
        self.keys["elsewhere"] = Roster(folder / "other", clock).create_key("", role="administrator")[1]
        self.keys |= {"write key": KEYS.write, "secret key": KEYS.secret}

    def allows(self, holder: str, access: str) -> bool:
        if access == "open":
            return True
        if holder in ENDED:
            return False
        if holder == "secret key":
            return True
        if holder == "write key":
            return access == "write"
        if holder in SCOPES:
            return holder == access
        return bool(ROLES[Role(holder)] & SCOPES[access])


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Holders:
    return Holders(tmp_path_factory.mktemp("access"))


@pytest.fixture
def guarded(
    make_server: Callable[..., RunningServer], holders: Holders, tmp_path: Path
) -> Iterator[tuple[httpx.Client, AuditLog]]:
    audit = AuditLog(tmp_path)
    keys = Keys(write=KEYS.write, secret=KEYS.secret, roster=holders.roster)
    server = make_server(audit=audit, keys=keys, clock=holders.clock)
    with httpx.Client(base_url=server.url, timeout=10) as client:
        yield client, audit


def ask(client: httpx.Client, route: Route, key: str, how: str = "bearer") -> httpx.Response:
    path = re.sub(r"\{\w+(:\w+)?\}", "user_id:x", plain_path(route.path))
    headers = {"content-type": "application/json"}
    if key:
        headers |= {"x-api-key": key} if how == "api key" else {"authorization": f"Bearer {key}"}
    body = b'{"batch":[]}' if route.method == "POST" else None
    return client.request(route.method, path, headers=headers, content=body)


def test_every_route_names_a_scope_that_exists() -> None:
    assert {route.access for route in ROUTES} <= set(get_args(Access))
    assert {route.access for route in ROUTES if route.method != "GET"} - {"open"} <= {
        "write", "catalogue", "repair", "campaigns", "identity", "privacy", "administer",
    }, "what only reads is no scope to change things with"  # fmt: skip
    open_routes = {route.path for route in ROUTES if route.access == "open"}
    assert open_routes == {
        "/v1/m", "/m", "/v1/projects/{write_key}/settings", "/health", "/ready", "/metrics", "/openapi.json",
        "/docs", "/.well-known/gpc.json",
    }, "a route for everybody is on this list on purpose"  # fmt: skip


def test_every_route_with_every_role_and_every_bad_key(
    guarded: tuple[httpx.Client, AuditLog], holders: Holders
) -> None:
    client, _ = guarded
    leaks, tried = [], 0
    for route in ROUTES:
        for holder, key in holders.keys.items():
            for how in ("bearer", "api key"):
                tried += 1
                status = ask(client, route, key, how).status_code
                if holders.allows(holder, route.access):
                    good = status not in (401, 403)
                else:
                    good = status == (401 if holder in ENDED else 403)
                if not good:
                    leaks.append((route.method, route.path, holder, how, status))
    assert tried == len(ROUTES) * (len(Role) + len(SCOPES) + len(ENDED) + 2) * 2
    assert leaks == []


def test_a_key_in_the_address_must_be_public(
    guarded: tuple[httpx.Client, AuditLog], holders: Holders
) -> None:
    client, _ = guarded
    for holder, key in holders.keys.items():
        answer = client.get(f"/pixel/v1/page?writeKey={key}&userId=u1")
        good = holder in ("write key", "write")
        assert (answer.status_code in (200, 204)) is good, holder
    assert client.get(f"/v1/accounting?writeKey={KEYS.secret}").status_code == 401


def test_who_tries_more_than_the_key_allows_is_noted(
    guarded: tuple[httpx.Client, AuditLog], holders: Holders
) -> None:
    client, audit = guarded
    refused = client.get(
        "/v1/profiles/user_id:u1", headers={"authorization": f"Bearer {holders.keys['viewer']}"}
    )
    assert refused.json() == {
        "code": "forbidden",
        "message": "this needs the scope people",
        "remedy": "use the secret key, or the key of a role with this scope (analyst, marketer, "
        "privacy-officer, administrator)",
    }
    noted = next(iter(audit.entries()))
    assert noted.did == "refused"
    assert noted.what == {"route": "GET /v1/profiles/{identifier:path}"}
    assert noted.who.startswith("key:")


def test_every_read_of_personal_data_is_noted(guarded: tuple[httpx.Client, AuditLog]) -> None:
    client, audit = guarded
    for route in ROUTES:
        if route.access not in ("open", "write", "catalogue", "reports", "administer"):
            before = audit.verify().entries
            answer = ask(client, route, KEYS.secret)
            if answer.status_code < 400 or route.method == "GET":
                assert audit.verify().entries > before, f"{route.method} {route.path} leaves no trace"
    assert audit.verify().broken_at == 0


def test_an_explained_decision_needs_to_see_people(
    guarded: tuple[httpx.Client, AuditLog], holders: Holders
) -> None:
    client, audit = guarded
    asked = {"placement": "home_recs", "identifiers": {"user_id": "u1"}, "explain": True}
    for key, status in ((KEYS.write, 403), (holders.keys["write"], 403), (KEYS.secret, 200)):
        answer = client.post("/v1/decide", json=asked, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == status
    assert [one.did for one in audit.newest(about="user_id:u1")] == ["decision.explained"]


def test_keys_are_made_and_revoked_over_http(guarded: tuple[httpx.Client, AuditLog]) -> None:
    client, audit = guarded
    secret = {"authorization": f"Bearer {KEYS.secret}"}
    made = client.post("/v1/keys", json={"role": "viewer", "name": "wall"}, headers=secret).json()
    own = {"authorization": f"Bearer {made['key']}"}
    assert client.get("/v1/accounting", headers=own).status_code == 200
    listed = client.get("/v1/keys", headers=secret).json()["keys"]
    assert any(one["id"] == made["id"] and one["state"] == "active" for one in listed)
    assert made["key"] not in str(listed)
    assert client.post(f"/v1/keys/{made['id']}/revoke", headers=secret).json()["state"] == "revoked"
    assert client.get("/v1/accounting", headers=own).json()["message"] == "this key is revoked"
    noted = client.get("/v1/audit?did=key.", headers=secret).json()["entries"]
    assert [one["did"] for one in noted] == ["key.revoked", "key.created"]
    assert made["key"] not in (audit._path).read_text()
    for wrong in ({"role": "viewer", "expires_days": -1}, {"role": "viewer", "expires_days": 4_000}):
        refused = client.post("/v1/keys", json=wrong, headers=secret).json()
        assert refused["message"] == "a key lives for 1 to 3650 days, or for ever with 0"


@pytest.fixture
def console(tmp_path: Path, holders: Holders) -> Iterator[tuple[Any, AuditLog]]:
    audit = AuditLog(tmp_path / "log")
    keys = Keys(write=KEYS.write, secret=KEYS.secret, roster=holders.roster)
    with Engine.open(tmp_path / "data") as engine:
        yield create_console(engine, Sessions(keys, environment={}), audit=audit), audit


def test_every_page_with_every_role_and_every_bad_key(
    console: tuple[Any, AuditLog], holders: Holders
) -> None:
    app, _ = console
    access: dict[str, str] = app.state.access
    pages = [page for page in app.routes if isinstance(page, Page)]
    assert {page.path for page in pages} == set(access), "a page is added with the scope that it needs"
    assert {path for path, needs in access.items() if needs == "open"} == {
        "/login", "/logout", "/oidc/start", "/oidc/callback", "/static/{name}",
    }  # fmt: skip
    client, leaks = Client(app), []
    for page in pages:
        needs = access[page.path]
        path = re.sub(r"\{\w+(:\w+)?\}", "user_id:x", page.path)
        for holder, key in holders.keys.items():
            if needs == "open":
                continue
            headers = {"authorization": f"Bearer {key}"} if key else {}
            methods = page.methods or set()
            answer = (
                client.post(path, {}, headers=headers)
                if "POST" in methods
                else client.get(path, headers=headers)
            )
            if holders.allows(holder, needs):
                good = answer.status_code not in (303, 401, 403) or "POST" in methods
            elif holder in (*ENDED, "write key", "write"):
                good = answer.status_code in (303, 401)
            else:
                good = answer.status_code == 403
            if not good:
                leaks.append((page.path, holder, answer.status_code))
    assert leaks == []


def test_every_page_with_a_session_of_every_kind(
    tmp_path: Path, holders: Holders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By cookie: people of every role, those whom a provider knows, and sessions of another workspace."""
    monkeypatch.setattr("opportune.access.roster.hashed", lambda password: "nobody signs in with it")
    oidc = Known(OpenId("https://login.example.org", "opportune"))
    keys = Keys(write=KEYS.write, secret=KEYS.secret, roster=holders.roster)
    elsewhere = Roster(tmp_path / "other", holders.clock)
    for roster in (holders.roster, elsewhere):
        for role in Role:
            roster.set_user(role.value, role, "a sentence nobody guesses")
    sessions = Sessions(keys, holders.clock, {}, oidc)  # type: ignore[arg-type]  # a provider that is never asked
    others = Sessions(Keys(write="wk", secret="of another", roster=elsewhere), holders.clock, {}, oidc)  # type: ignore[arg-type]  # likewise
    cookies = {
        (kind, role, who): one.issue(Grant(ROLES[role], f"{kind}:{role.value}"))
        for role in Role
        for kind in ("user", "oidc")
        for who, one in (("ours", sessions), ("elsewhere", others))
        if who == "ours" or role is Role.ADMINISTRATOR
    }
    leaks, tried = [], 0
    with Engine.open(tmp_path / "data") as engine:
        app = create_console(engine, sessions, audit=AuditLog(tmp_path / "log"))
        for path, needs in app.state.access.items():
            if not path.endswith(".json"):  # the page beside it asks the same
                continue
            address = re.sub(r"\{\w+(:\w+)?\}", "user_id:x", path)
            for (kind, role, who), cookie in cookies.items():
                client = Client(app)
                client.cookies.set(COOKIE, cookie)
                status, tried = client.get(address).status_code, tried + 1
                if who == "elsewhere":
                    good = status in (303, 401)
                elif ROLES[role] & SCOPES[needs]:
                    good = status not in (303, 401, 403)
                else:
                    good = status == 403
                if not good:
                    leaks.append((path, kind, role, who, status))
    assert tried > 15 * (2 * len(Role) + 2)
    assert leaks == []


def test_who_sees_sums_sees_nobody(console: tuple[Any, AuditLog], holders: Holders) -> None:
    app, _ = console
    client = Client(app)
    for path in ("/overview.json", "/accounting.json", "/placements.json", "/experiments.json"):
        seen = client.get(path, headers={"authorization": f"Bearer {holders.keys['viewer']}"})
        assert seen.status_code == 200
        assert seen.json().get("events", []) == []
        assert seen.json().get("decisions", []) == []
        assert seen.json().get("dead_letters", {}).get("letters", []) == []
