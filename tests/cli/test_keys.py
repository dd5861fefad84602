from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Opportune

from opportune.access.audit import AuditLog
from opportune.access.roster import Roster


def test_a_key_from_creation_to_its_end(opportune: Opportune, tmp_path: Path) -> None:
    made = opportune(
        "keys",
        "create",
        "--data-dir",
        tmp_path,
        "--role",
        "analyst",
        "--expires",
        "90d",
        "--name",
        "bi",
        "--json",
    ).json
    assert made["scopes"] == ["reports", "people"]
    assert Roster(tmp_path).grant(made["key"]) is not None
    listed = opportune("keys", "list", "--data-dir", tmp_path, "--json").json["keys"]
    assert [(key["id"], key["name"], key["state"]) for key in listed] == [(made["id"], "bi", "active")]
    assert listed[0]["expires"] - listed[0]["created"] == 90 * 86_400_000
    assert "bi" in opportune("keys", "list", "--data-dir", tmp_path).out
    assert opportune("keys", "revoke", made["id"], "--data-dir", tmp_path).out == f"revoked {made['id']}\n"
    again = opportune("keys", "list", "--data-dir", tmp_path, "--json").json["keys"]
    assert [key["state"] for key in again] == ["revoked"]
    assert [entry.did for entry in AuditLog(tmp_path).entries()] == ["key.created", "key.revoked"]


def test_a_key_by_scopes_that_never_ends(opportune: Opportune, tmp_path: Path) -> None:
    made = opportune(
        "keys",
        "create",
        "--data-dir",
        tmp_path,
        "--scope",
        "write",
        "--scope",
        "catalogue",
        "--expires",
        "never",
    )
    assert "may      write, catalogue\nexpires  never\n" in made.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "a key has either a role or scopes"),
        (["--role", "king"], "'king' is not one of"),
        (["--scope", "read"], "no such scope, saw 'read'"),
        (["--role", "viewer", "--expires", "soon"], "no such span of time, saw 'soon', at --expires"),
    ],
)
def test_what_makes_no_key(opportune: Opportune, tmp_path: Path, arguments: list[str], problem: str) -> None:
    ran = opportune("keys", "create", "--data-dir", tmp_path, *arguments)
    assert ran.code != 0
    assert problem in ran.err


def test_users(opportune: Opportune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("a sentence nobody guesses\n"))
    added = opportune("users", "add", "ada-l", "--data-dir", tmp_path, "--role", "privacy-officer")
    assert added.out == "ada-l may sign in as privacy-officer\n"
    users = opportune("users", "list", "--data-dir", tmp_path, "--json").json["users"]
    assert [(user["name"], user["role"], "password" in user) for user in users] == [
        ("ada-l", "privacy-officer", False)
    ]
    assert opportune("users", "remove", "ada-l", "--data-dir", tmp_path).out == "removed ada-l\n"
    assert (
        "nobody has this name, saw 'ada-l'"
        in opportune("users", "remove", "ada-l", "--data-dir", tmp_path).err
    )
    noted = (tmp_path / "audit" / "log.jsonl").read_text()
    assert "ada-l" not in noted
    assert "a sentence" not in noted


def test_which_folder(opportune: Opportune) -> None:
    assert "which data?, at --data-dir: pass --data-dir DIR" in opportune("keys").err
