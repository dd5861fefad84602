from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Opportune

from opportune.access.audit import AuditLog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = AuditLog(tmp_path)
    log.note("secret key", "profile.read", ["user_id:u1"])
    log.note("user:ada", "key.created", changed=True, key="3f2a")
    log.close()
    return tmp_path


def test_entries_are_listed(opportune: Opportune, folder: Path) -> None:
    entries = opportune("audit", "list", "--data-dir", folder, "--json").json["entries"]
    assert [(one["n"], one["who"], one["did"]) for one in entries] == [
        (2, "user:ada", "key.created"),
        (1, "secret key", "profile.read"),
    ]
    assert "key 3f2a" in opportune("audit", "list", "--data-dir", folder).out
    about = opportune("audit", "list", "--data-dir", folder, "--about", "user_id:u1", "--json").json
    assert [one["n"] for one in about["entries"]] == [1]


def test_a_chain_that_holds_and_one_that_does_not(opportune: Opportune, folder: Path) -> None:
    held = opportune("audit", "verify", "--data-dir", folder)
    assert (held.code, held.out.startswith("2 entries hold, head ")) == (0, True)
    head = opportune("audit", "verify", "--data-dir", folder, "--json").json["head"]
    path = folder / "audit" / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0])
    assert opportune("audit", "verify", "--data-dir", folder).code == 0
    cut = opportune("audit", "verify", "--data-dir", folder, "--expect", head)
    assert cut.code == 1
    assert cut.out.strip() == (
        "broken: the expected head is not in the chain: entries were cut off; 1 entries hold before it"
    )
    path.write_bytes(lines[1])
    broken = opportune("audit", "verify", "--data-dir", folder)
    assert broken.code == 1
    assert broken.out.startswith("broken at entry 1: the entry does not follow the one before it")
