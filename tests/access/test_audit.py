from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.access.audit_conformance import AuditConformance, Ticks, noted

from opportune.access.audit import AuditLog, seal
from opportune.errors import Corrupt


class TestAuditLog(AuditConformance):
    @pytest.fixture
    def log(self, tmp_path: Path) -> AuditLog:
        return AuditLog(tmp_path, Ticks())


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    log = AuditLog(tmp_path, Ticks())
    noted(log)
    return log


def path_of(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "log.jsonl"


def test_no_identifier_is_in_the_folder(log: AuditLog, tmp_path: Path) -> None:
    log.close()
    for path in (tmp_path / "audit").iterdir():
        assert b"u1" not in path.read_bytes().replace(log.pseudonym("user_id:u1").encode(), b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_pseudonym_depends_on_the_folder(tmp_path: Path) -> None:
    one, other = AuditLog(tmp_path / "one"), AuditLog(tmp_path / "other")
    assert one.pseudonym("user_id:u1") == AuditLog(tmp_path / "one").pseudonym("user_id:u1")
    assert one.pseudonym("user_id:u1") != other.pseudonym("user_id:u1")


@pytest.mark.parametrize(
    ("line", "old", "new", "problem"),
    [
        (1, b"profile.read", b"profile.rode", "the entry is not what was written"),
        (2, b"asked by phone", b"asked by email", "the entry is not what was written"),
        (3, b'"n":3', b'"n":4', "the entry does not follow the one before it"),
        (2, b"{", b"", "the line cannot be read"),
    ],
)
def test_a_changed_line_is_found(
    log: AuditLog, tmp_path: Path, line: int, old: bytes, new: bytes, problem: str
) -> None:
    lines = path_of(tmp_path).read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(old, new)
    path_of(tmp_path).write_bytes(b"".join(lines))
    found = log.verify()
    assert (found.broken_at, found.problem, found.entries) == (line, problem, line - 1)


@pytest.mark.parametrize("gone", [1, 2])
def test_a_removed_line_is_found(log: AuditLog, tmp_path: Path, gone: int) -> None:
    lines = path_of(tmp_path).read_bytes().splitlines(keepends=True)
    del lines[gone - 1]
    path_of(tmp_path).write_bytes(b"".join(lines))
    assert log.verify().broken_at == gone


def test_a_line_rewritten_with_its_own_seal_breaks_the_next(log: AuditLog, tmp_path: Path) -> None:
    import msgspec

    first = next(log.entries())
    forged = msgspec.structs.replace(first, who="nobody")
    forged = msgspec.structs.replace(forged, hash=seal(forged))
    lines = path_of(tmp_path).read_bytes().splitlines(keepends=True)
    lines[0] = msgspec.json.encode(forged) + b"\n"
    path_of(tmp_path).write_bytes(b"".join(lines))
    assert log.verify().broken_at == 2


def test_two_processes_keep_one_chain(tmp_path: Path) -> None:
    one, other = AuditLog(tmp_path, Ticks()), AuditLog(tmp_path, Ticks())
    for turn in range(20):
        (one if turn % 3 else other).note("cli", f"turn.{turn}")
    found = one.verify()
    assert (found.entries, found.broken_at) == (20, 0)


def test_half_a_line_is_cut_off(log: AuditLog, tmp_path: Path) -> None:
    log.close()
    with path_of(tmp_path).open("ab") as file:
        file.write(b'{"n":4,"time":')
    again = AuditLog(tmp_path, Ticks())
    again.note("secret key", "profile.read")
    assert (again.verify().entries, again.verify().broken_at) == (4, 0)


def test_reading_a_damaged_log_says_where(log: AuditLog, tmp_path: Path) -> None:
    path_of(tmp_path).write_bytes(b"{}\n")
    with pytest.raises(
        Corrupt, match=r"a line of the audit log cannot be read, at .*log\.jsonl line 1: oppo"
    ):
        list(log.entries())
