from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Opportune

from opportune import Engine
from opportune.access.audit import AuditLog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Engine.open(tmp_path) as engine:
        engine.ingest([{"type": "page", "userId": "u1"}, {"type": "page", "anonymousId": "a1"}], source="web")
    return tmp_path


def test_merging_and_unmerging(opportune: Opportune, folder: Path) -> None:
    pair = ("user_id:u1", "anonymous_id:a1", "--data-dir", folder)
    joined = opportune("identity", "merge", *pair, "--why", "asked by phone")
    assert joined.out == "one person, user_id:u1: user_id:u1 with anonymous_id:a1\n"
    assert opportune("identity", "unmerge", *pair).out == "two people: held back by retracted\n"
    again = opportune("identity", "unmerge", *pair)
    assert again.code == 1
    assert "the two were taken apart before" in again.err
    listed = opportune("identity", "corrections", "--data-dir", folder, "--json").json["corrections"]
    assert [(c["action"], c["why"]) for c in listed] == [("unlinked", ""), ("linked", "asked by phone")]
    noted = AuditLog(folder).newest(about="user_id:u1")
    assert [entry.did for entry in noted] == ["identity.unmerge", "identity.merge"]


def test_reviewing(opportune: Opportune, folder: Path) -> None:
    pair = ("user_id:u1", "user_id:u2", "--data-dir", folder)
    held = opportune("identity", "merge", *pair, "--json").json
    assert (held["together"], held["refused"]) == (False, "limit:user_id")
    found = opportune("identity", "reviews", "--data-dir", folder, "--json").json["reviews"]
    assert [(r["a"], r["b"]) for r in found] == [("user_id:u1", "user_id:u2")]
    assert "limit:user_id" in opportune("identity", "reviews", "--data-dir", folder).out
    assert opportune("identity", "accept", *pair, "--json").json["together"] is True
    assert opportune("identity", "reviews", "--data-dir", folder, "--json").json["reviews"] == []
