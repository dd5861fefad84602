from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Opportune
from tests.identity.matching.test_proposals import shoppers

from opportune import Engine
from opportune.access.audit import AuditLog
from opportune.stores.likely import LikelyStore


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


def test_training_and_proposing(opportune: Opportune, tmp_path: Path) -> None:
    pytest.importorskip("rapidfuzz", reason="the identity extra is not installed")
    with Engine.open(tmp_path) as engine:
        engine.ingest(
            [
                {"type": "identify", "userId": name.removeprefix("user_id:"), "traits": row}
                if name.startswith("user_id:")
                else {"type": "identify", "anonymousId": name.removeprefix("anonymous_id:"), "traits": row}
                for name, row in shoppers()
            ],
            source="web",
        )
    missing = opportune("identity", "propose", "--data-dir", tmp_path)
    assert "no weights yet" in missing.err
    learnt = opportune("identity", "train", "--data-dir", tmp_path, "--json").json
    assert learnt["trained_on"] == len(shoppers())
    assert {w["column"] for w in learnt["weights"]} >= {"last_name", "birthday", "postcode"}
    found = opportune("identity", "propose", "--data-dir", tmp_path, "--for", "rank", "--json").json[
        "proposals"
    ]
    assert {(p["a"], p["b"]) for p in found} == {
        (f"user_id:u{n:03}", f"anonymous_id:a{n:03}") for n in range(0, 150, 10)
    }
    assert "rank" in opportune("identity", "propose", "--data-dir", tmp_path).out
    wrong = opportune("identity", "propose", "--data-dir", tmp_path, "--for", "war")
    assert "no such use, saw 'war', at --for: one of review, rank, send" in wrong.err
    with Engine.open(tmp_path) as engine:
        assert engine.together("user_id:u000", "anonymous_id:a000").is_one is False
    LikelyStore(tmp_path).forget()
    assert not (tmp_path / "likely").exists()
