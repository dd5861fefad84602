from __future__ import annotations

import stat
from pathlib import Path

import pytest

from opportune.access import passwords
from opportune.access.roster import Roster, role_of
from opportune.access.scopes import EVERYTHING, ROLES, SCOPES, Role, bits, names_of
from opportune.clock import DAY, FixedClock
from opportune.errors import InvalidRequest, NotFound, StorageError, Unauthorized

PASSWORD = "a sentence nobody guesses"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def roster(tmp_path: Path, clock: FixedClock) -> Roster:
    return Roster(tmp_path, clock)


def test_a_key_allows_what_its_role_allows(roster: Roster) -> None:
    key, text = roster.create_key("reports", role="analyst")
    grant = roster.grant(text)
    assert grant is not None
    assert (names_of(grant.scopes), grant.who, grant.is_public) == (
        ["reports", "people"],
        f"key:{key.id}",
        False,
    )
    assert roster.grant(text + "x") is None
    assert roster.grant("ok_") is None
    assert roster.grant("") is None


def test_a_key_for_pages_is_public(roster: Roster) -> None:
    for scopes, is_public in ((["write"], True), (["write", "catalogue"], False)):
        grant = roster.grant(roster.create_key("", scopes=scopes)[1])
        assert grant is not None
        assert grant.is_public is is_public


def test_a_key_ends(roster: Roster, clock: FixedClock) -> None:
    key, text = roster.create_key("", role="viewer", expires_in=90 * DAY)
    clock.advance(90 * DAY - 1)
    assert roster.grant(text) is not None
    clock.advance(1)
    with pytest.raises(Unauthorized, match=f"this key is expired, saw '{key.id}': ask for a new key"):
        roster.grant(text)


def test_a_revoked_key_is_refused_by_another_process_too(
    roster: Roster, tmp_path: Path, clock: FixedClock
) -> None:
    key, text = roster.create_key("", role="administrator")
    server = Roster(tmp_path, clock)
    assert server.grant(text) is not None
    first = roster.revoke_key(key.id)
    with pytest.raises(Unauthorized, match="this key is revoked"):
        server.grant(text)
    clock.advance(1)
    assert roster.revoke_key(key.id) == first
    assert [one.state(clock()) for one in server.list_keys()] == ["revoked"]
    with pytest.raises(NotFound, match=r"no such key, saw 'nope': 'opportune keys list' shows their ids"):
        roster.revoke_key("nope")


def test_no_secret_is_in_the_file(roster: Roster, tmp_path: Path) -> None:
    _, text = roster.create_key("", role="viewer")
    roster.set_user("ada", "analyst", PASSWORD)
    path = tmp_path / "access.json"
    kept = path.read_text()
    assert text not in kept
    assert text[-16:] not in kept
    assert PASSWORD not in kept
    assert "$argon2id$" in kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "digest" not in roster.list_keys()[0].shown(0)
    assert "password" not in roster.list_users()[0].shown()


@pytest.mark.parametrize(
    ("role", "scopes", "problem"),
    [
        ("", [], "a key has either a role or scopes"),
        ("viewer", ["write"], "a key has either a role or scopes"),
        ("king", [], r"no such role, saw 'king', at role: one of viewer, analyst, marketer"),
        ("", ["read"], r"no such scope, saw 'read', at --scope: one of write, catalogue"),
    ],
)
def test_what_makes_no_key(roster: Roster, role: str, scopes: list[str], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        roster.create_key("", role=role, scopes=scopes)
    assert roster.list_keys() == []


def test_users_come_change_and_go(roster: Roster, clock: FixedClock) -> None:
    first = roster.set_user("ada", "viewer", PASSWORD)
    clock.advance(5)
    again = roster.set_user("ada", "Privacy Officer", PASSWORD + "!")
    assert (again.created, again.changed) == (first.created, first.created + 5)
    assert again.grant.scopes == ROLES[Role.PRIVACY_OFFICER]
    assert passwords.matches(PASSWORD + "!", again.password)
    assert not passwords.matches(PASSWORD, again.password)
    roster.remove_user("ada")
    assert roster.list_users() == []
    with pytest.raises(NotFound, match="nobody has this name, saw 'ada'"):
        roster.remove_user("ada")


@pytest.mark.parametrize("name", ["", "Ada", "a b", "-x", "é", "x" * 65])
def test_names(roster: Roster, name: str) -> None:
    with pytest.raises(InvalidRequest, match="a name has lower-case letters"):
        roster.set_user(name, "viewer", PASSWORD)


@pytest.mark.parametrize("password", ["short", "x" * 257])
def test_passwords_have_a_length(roster: Roster, password: str) -> None:
    with pytest.raises(InvalidRequest, match="a password has 10 to 256 characters"):
        roster.set_user("ada", "viewer", password)


def test_nobody_matches_nothing() -> None:
    assert not passwords.matches("nobody has this name", "")
    assert not passwords.matches("anything", "not a hash")


def test_a_damaged_file_lets_nobody_in(roster: Roster, tmp_path: Path) -> None:
    _, text = roster.create_key("", role="administrator")
    (tmp_path / "access.json").write_text("{")
    with pytest.raises(StorageError, match=r"cannot read the kept keys and users, at .*: restore"):
        roster.grant(text)


def test_the_table_of_roles() -> None:
    assert {role.value: names_of(scopes) for role, scopes in ROLES.items()} == {
        "viewer": ["reports"],
        "analyst": ["reports", "people"],
        "marketer": ["catalogue", "reports", "people", "campaigns"],
        "privacy-officer": ["reports", "people", "repair", "identity", "privacy", "audit"],
        "administrator": list(SCOPES),
    }
    assert bits(SCOPES) == EVERYTHING
    assert role_of("privacy_officer") is Role.PRIVACY_OFFICER
